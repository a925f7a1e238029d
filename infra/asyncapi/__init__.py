"""The AsyncAPI document of the WebSocket and of the workers' queues, built at synthesis.

`schemas` has the types that the code reads and writes, `messages` what is sent of them, and `document` where. The stack
puts the document beside the handler of the function `schema`; `python -m infra.openapi` writes docs/asyncapi.json.
"""
