# The Python client in docs/PROTOCOL.md is docs/examples/client.py, to the byte.
file(READ ${ROOT}/docs/PROTOCOL.md document)
file(READ ${ROOT}/docs/examples/client.py client)
string(FIND "${document}" "```python\n${client}```\n" found)
if(found EQUAL -1)
    message(FATAL_ERROR "docs/PROTOCOL.md does not contain docs/examples/client.py as it is")
endif()
