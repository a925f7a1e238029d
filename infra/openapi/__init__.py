"""The OpenAPI document of the REST API, built at synthesis.

One module for each area declares its operations; `document` joins them with the schemas of the types that read
requests and answer them. The stack puts the document beside the handler of the function `schema`, which serves it.
`python -m infra.openapi` writes docs/openapi.json.
"""
