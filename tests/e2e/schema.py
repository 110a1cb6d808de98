"""The part of JSON Schema 2020-12 that docs/metrics.schema.json uses; any other keyword is an error."""

TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
    "integer": int, "number": (int, float),
}  # fmt: skip
NOTES = {"$schema", "$defs", "title", "description"}


def is_type(value, name):
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name])


def check_object(value, schema, root, at):
    known = schema.get("properties", {})
    for key in schema.get("required", []):
        if key not in value:
            yield f"{at}: {key} is missing"
    for key, child in value.items():
        rule = known.get(key, schema.get("additionalProperties", {}))
        if rule is False:
            yield f"{at}: {key} is not in the schema"
        elif isinstance(rule, dict):
            yield from errors(child, rule, root, f"{at}.{key}")


def errors(value, schema, root, at="$"):
    """What is wrong with value, one sentence each."""
    unknown = set(schema) - NOTES - {"$ref", "type", "const", "enum", "minimum", "items", "properties", "required",
                                     "additionalProperties"}  # fmt: skip
    if unknown:
        raise ValueError(f"{at}: this validator does not know {sorted(unknown)}")
    if "$ref" in schema:
        yield from errors(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(is_type(value, t) for t in types):
        yield f"{at}: {value!r} is no {' or '.join(types)}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{at}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is not one of {schema['enum']}"
    if "minimum" in schema and isinstance(value, (int, float)) and value < schema["minimum"]:
        yield f"{at}: {value!r} is below {schema['minimum']}"
    if isinstance(value, list):
        for i, child in enumerate(value):
            yield from errors(child, schema.get("items", {}), root, f"{at}[{i}]")
    elif isinstance(value, dict):
        yield from check_object(value, schema, root, at)
