"""Forecasts over HTTP: an API, engines that step, and a folder that remembers.

run.py         `run_serving`: from a config to a service that answers
deployment.py  the service on Ray: a replica for the API, and one for each model
app.py         the routes
service.py     what they do, without HTTP and without Ray
engine.py      makes the forecasts of one model, one after the other
jobs.py        accepted forecasts on disk: the queue, the progress, the results
loading.py     from the registry and the data to a model in memory
served.py      a model as its callers see it; whether a request makes sense for it
requests.py    what a caller may ask for
events.py      progress as server-sent events
results.py     one field, or all channels at a place
byterange.py   files over HTTP, whole or in part
auth.py        bearer tokens
problems.py    errors as RFC 9457 documents
door.py        what every request passes first
metrics.py     what Prometheus reads
"""

from credit_ray.serving.run import ServingResult, run_serving, running_service, stop_serving

__all__ = ["ServingResult", "run_serving", "running_service", "stop_serving"]
