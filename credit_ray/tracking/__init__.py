"""Everything that touches MLflow; importing this folder does not import it.

* `tracking_uri`, `connect` (client): which server or database, and a client of it that answers.
* `start_run`, `Run` (runs): the driver's run, its folder, its page; `Run.lineage` goes into packages and forecasts.
* `MetricSpool` (spool): step metrics from a worker, through a file, to MLflow.
* `register_model`, `record_scores`, `promote_model`, `fetch_model` (registry, fetching): packages in and out of the registry.
* `list_models`, `show_model`, `model_card`, `compare_models` (browse), `trace` (trace): what there is and where it comes from.
"""

from __future__ import annotations
