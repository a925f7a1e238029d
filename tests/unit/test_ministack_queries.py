"""Queries of the embedded DynamoDB: the answers of ministack's own code, without a look at the whole partition."""

from functools import cache
from typing import Any

from tests.support import in_the_embedded_aws

TRIALS = """
import json, random, sys

sys.path.insert(0, sys.argv[-1])
from ministack.services import dynamodb

plain = dynamodb._query
import ministack_queries

KINDS = {"pk": "S", "sk": sys.argv[1], "owner": "S", "at": "N", "state": "S"}
KEYS = {
    None: (["pk"], ["sk"]),
    "byTime": (["owner"], ["at"]),
    "byState": (["owner"], ["state"]),
    "byOwner": (["owner"], []),
    "byBoth": (["owner", "pk"], ["at"]),
}


def call(action, **request):
    return getattr(dynamodb, action)({"TableName": "table", **request})


def schema(hashes, ranges):
    kinds = [(name, "HASH") for name in hashes] + [(name, "RANGE") for name in ranges]
    return [{"AttributeName": name, "KeyType": kind} for name, kind in kinds]


call(
    "_create_table",
    KeySchema=schema(*KEYS[None]),
    AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in KINDS.items()],
    GlobalSecondaryIndexes=[
        {"IndexName": name, "KeySchema": schema(*keys), "Projection": {"ProjectionType": "ALL"}}
        for name, keys in KEYS.items() if name
    ],
    BillingMode="PAY_PER_REQUEST",
)
chance = random.Random(int(sys.argv[2]))
texts = ["", "a", "ab", "abc", "b", "\\u00e9", "\\U0001f600", "z"]


def value(name):
    if KINDS[name] == "N":
        return {"N": str(chance.choice([-3, 0, 1, 2, 9, 10, 11, 1.5]))}
    return {"S": chance.choice(texts[1:]) + str(chance.randrange(3))}


def item():
    sparse = {name: value(name) for name in ("at", "state") if chance.random() < 0.8}
    return {"pk": {"S": chance.choice("pq")}, "owner": {"S": chance.choice("uv")}, "sk": value("sk"), **sparse}


def change():
    given = item()
    key = {name: given[name] for name in ("pk", "sk")}
    if chance.random() < 0.2:
        call("_delete_item", Key=key)
    elif chance.random() < 0.3:
        call("_update_item", Key=key, UpdateExpression="SET #at = :at",
             ExpressionAttributeNames={"#at": "at"}, ExpressionAttributeValues={":at": value("at")})
    elif chance.random() < 0.2:
        call("_transact_write_items", TransactItems=[{"Put": {"TableName": "table", "Item": given}}])
    else:
        call("_put_item", Item=given)


def request():
    index = chance.choice([*KEYS])
    hashes, ranges = KEYS[index]
    asked = {"TableName": "table", "ScanIndexForward": chance.random() < 0.5} | ({"IndexName": index} if index else {})
    condition = " AND ".join(f"#h{n} = :h{n}" for n in range(len(hashes)))
    names = {f"#h{n}": name for n, name in enumerate(hashes)}
    values = {f":h{n}": {"S": chance.choice("pq" if name == "pk" else "uv")} for n, name in enumerate(hashes)}
    if ranges and chance.random() < 0.7:
        names["#r"] = ranges[0]
        values[":lo"] = value(ranges[0])
        wanted = chance.choice(["#r < :lo", "#r <= :lo", "#r > :lo", "#r >= :lo", "#r = :lo", "between", "begins"])
        if wanted == "between":
            values[":hi"] = value(ranges[0])
            wanted = "#r BETWEEN :lo AND :hi"
        elif wanted == "begins":
            wanted = "begins_with(#r, :lo)"
        condition += " AND " + wanted
    if chance.random() < 0.6:
        asked["Limit"] = chance.choice([1, 2, 5])
    if chance.random() < 0.2:
        asked["FilterExpression"] = "attribute_exists(#s)"
        names["#s"] = "state"
    return asked | {"KeyConditionExpression": condition, "ExpressionAttributeNames": names,
                    "ExpressionAttributeValues": values}


def answer(query, asked):
    status, _, body = query(json.loads(json.dumps(asked)))
    return status, json.loads(body)


found = {"pages": 0, "refused": 0, "items": 0, "differ": []}
for _ in range(60):
    for _ in range(chance.randrange(12)):
        change()
    for _ in range(12):
        asked = request()
        while True:
            expected, shown = answer(plain, asked), answer(dynamodb._query, asked)
            found["pages"] += 1
            found["refused"] += expected[0] != 200
            found["items"] += len(expected[1].get("Items", ()))
            if shown != expected:
                found["differ"].append([asked, expected, shown])
            start = expected[1].get("LastEvaluatedKey")
            if not start:
                break
            if chance.random() < 0.3:
                change()
            asked["ExclusiveStartKey"] = start

for number in range(2000):
    sort = {"S": f"{number:05}"} if KINDS["sk"] == "S" else {"N": str(number)}
    many, at = {"S": "many"}, {"N": str(number)}
    call("_put_item", Item={"pk": many, "sk": sort, "owner": many, "at": at})
evaluated, reads = dynamodb._evaluate_condition, []
dynamodb._evaluate_condition = lambda *given, **more: reads.append(1) or evaluated(*given, **more)
for kind, query in (("plain", plain), ("page", dynamodb._query)):
    for index in (None, "byTime", "byBoth"):
        reads.clear()
        names = {f"#k{n}": name for n, name in enumerate(KEYS[index][0])}
        condition = " AND ".join(f"{name} = :many" for name in names)
        asked = {"TableName": "table", "KeyConditionExpression": condition, "Limit": 10}
        asked |= {"ExpressionAttributeNames": names, "ExpressionAttributeValues": {":many": many}}
        query(asked | ({"IndexName": index} if index else {}))
        found[f"{kind} {index}"] = len(reads)
print(json.dumps(found))
"""


@cache
def trials(kind: str, seed: int) -> dict[str, Any]:
    """What many queries of a table that changes gave, by ministack's own code and by pages."""
    return in_the_embedded_aws(TRIALS, kind, str(seed))


def test_a_page_is_the_answer_of_ministacks_own_code_with_each_condition_and_after_each_change() -> None:
    for kind in ("S", "N"):
        for seed in range(3):
            found = trials(kind, seed)
            assert not found["differ"], found["differ"][0]
            assert found["items"] > found["pages"] > 500
            assert 0 < found["refused"] < found["pages"] / 2


def test_a_page_of_a_large_partition_reads_its_own_items() -> None:
    found = trials("S", 0)
    for index in ("None", "byTime", "byBoth"):
        assert (found[f"plain {index}"], found[f"page {index}"]) == (2000, 10)
