"""Operations on batches."""

from elasticrecode.batches.progress import BatchRecord, BatchTaken
from elasticrecode.batches.request import INPUTS_LIMIT, PLACE, BatchRequest
from elasticrecode.contract.routes import BATCH, BATCHES, CANCEL_BATCH, SUBMIT_BATCH
from infra.openapi import examples
from infra.openapi.operation import USER, Area, Body, Operation, batch_links

AREA = Area(
    "Batches",
    "Up to a million jobs with one profile, from a list, a manifest or a prefix.",
    {
        SUBMIT_BATCH: Operation(
            "submitBatch",
            "Submit a batch",
            f"Submits a batch of up to {INPUTS_LIMIT:,} `inputs`, or of up to a million that a `manifest` lists or "
            "that lie under a `prefix`. The jobs are created after the answer; `GET /v1/batches/{batchID}` shows them.",
            {202: BatchTaken},
            (409, 503),
            body=Body((BatchRequest,), {"manifest": examples.BATCH}),
            has_key=True,
            links=batch_links(),
        ),
        BATCHES: Operation(
            "listBatches",
            "List batches",
            "Lists the batches of a user, newest first, as `GET /v1/batches/{batchID}` shows each. A page may hold "
            "fewer than `limit` where records are large; follow the link. Batches taken in before the deployment had "
            "this route are not in the list.",
            {200: list[BatchRecord]},
            (503,),
            query=(USER,),
            cursor=PLACE.pattern,
        ),
        BATCH: Operation(
            "showBatch",
            "Show a batch",
            "Answers the state of a batch, its jobs counted by state, its progress, and the inputs that were left out.",
            {200: BatchRecord},
            (503,),
            links=batch_links(),
        ),
        CANCEL_BATCH: Operation(
            "cancelBatch",
            "Cancel a batch",
            "Cancels all jobs of a batch that have not ended. Answers 409 for a batch that has ended.",
            {202: BatchRecord},
            (409, 503),
        ),
    },
)
