"""Submits, watches and reads a job through the client that openapi-python-client generated.

usage: PYTHONPATH=leadersboard_client generated_client.py SERVER TOKEN FOLDER
"""

import sys
import time
from io import BytesIO
from pathlib import Path

from leaders_board_client import AuthenticatedClient
from leaders_board_client.api.jobs import create_job, job_status
from leaders_board_client.api.leaderboard import leaderboard, leaderboard_csv, leaderboard_history
from leaders_board_client.api.logs import job_logs
from leaders_board_client.api.results import job_results
from leaders_board_client.api.submissions import create_submission
from leaders_board_client.models import LeaderboardFilters, NewJob, NewJobConfigType0, NewSubmission, Status
from leaders_board_client.types import File

server, token, folder = sys.argv[1:]
client = AuthenticatedClient(base_url=server, token=token, raise_on_unexpected_status=True)
files = [
    File(payload=BytesIO(path.read_bytes()), file_name=path.name) for path in sorted(Path(folder).iterdir()) if path.is_file()
]
submission = create_submission.sync(client=client, body=NewSubmission(files=files))
config = NewJobConfigType0.from_dict({"resource_class": "small"})
job = create_job.sync(client=client, body=NewJob(submission_id=submission.submission_id, config=config))
while (status := job_status.sync(job.job_id, client=client)).status in (Status.PENDING, Status.RUNNING):
    time.sleep(0.1)
print(status.status, status.created_at.isoformat())
print(job_logs.sync(job.job_id, client=client, tail_lines=3).logs)
print(job_results.sync(job.job_id, client=client).metrics.to_dict())
filters = LeaderboardFilters.from_dict({"param.seed": "7"})
for seed, rows in (("7", 1), ("8", 0)):
    filters["param.seed"] = seed
    board = leaderboard.sync(client=client, metric="image_auc", filters=filters)
    assert len(board.rows) == rows, board
assert "image_auc" in leaderboard_csv.sync(client=client, metric="image_auc")
assert len(leaderboard_history.sync(client=client, metric="image_auc").records) == 1
with client.get_httpx_client().stream("GET", f"/jobs/{job.job_id}/stream") as messages:
    assert any(line == "event: end" for line in messages.iter_lines())
