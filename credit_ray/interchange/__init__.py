"""Models of other platforms as model packages.

`credit`          CREDIT (miles-credit): a checkpoint, its YAML and its mean and standard deviation files
`architecture`    the model section of its YAML → a network of ours and its arguments
`checkpoint`      its checkpoint file → tensors
`keys`, `weights` its weights by their names → ours
`variables`       the data section of its YAML, of both generations → channels
`scales`          its files of means, deviations and static fields
"""
