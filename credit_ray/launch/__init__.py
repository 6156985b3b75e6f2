"""Where a job runs.

ray_job.py  inside `ray job submit`, whose working directory is a temporary copy: what relative paths mean there
"""
