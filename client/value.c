#include "client/value.h"

#include "client/error.h"
#include "client/json.h"
#include "common/mp.h"

#include <stdlib.h>

/* A value's memory as a buffer and back: they are laid out alike. */
static struct sc_buf as_buf(const struct shardcask_value *value)
{
    return (struct sc_buf){value->data, value->size, value->capacity};
}

static void from_buf(struct shardcask_value *value, const struct sc_buf *buf)
{
    value->data = buf->data;
    value->size = buf->size;
    value->capacity = buf->capacity;
}

void sc_value_copy(struct shardcask_value *value, struct sc_slice bytes)
{
    struct sc_buf buf = as_buf(value);
    buf.size = 0;
    sc_buf_append_slice(&buf, bytes);
    from_buf(value, &buf);
}

void shardcask_value_free(struct shardcask_value *value)
{
    free(value->data);
    *value = (struct shardcask_value)SHARDCASK_VALUE_INIT;
}

void shardcask_free(void *memory)
{
    free(memory);
}

/* ---- Encoders ---- */

static int set_bytes(struct shardcask_value *value, struct sc_slice bytes, bool text)
{
    if (bytes.size > UINT32_MAX) {
        return sc_fail(sc_error_room(), SC_TOOLARGE, "%zu bytes are too many for a msgpack value",
                       bytes.size);
    }
    struct sc_buf out = {0}; /* not in place: the bytes may lie inside the value */
    if (text) {
        sc_mp_put_str(&out, bytes);
    } else {
        sc_mp_put_bin(&out, bytes);
    }
    free(value->data);
    from_buf(value, &out);
    return SC_OK;
}

int shardcask_value_set_str(struct shardcask_value *value, const char *text)
{
    return set_bytes(value, sc_slice_str(text), true);
}

int shardcask_value_set_bytes(struct shardcask_value *value, const void *data, size_t size)
{
    return set_bytes(value, sc_slice(data, size), false);
}

int shardcask_value_set_int(struct shardcask_value *value, int64_t number)
{
    struct sc_buf out = as_buf(value);
    out.size = 0;
    sc_mp_put_int(&out, number);
    from_buf(value, &out);
    return SC_OK;
}

int shardcask_value_set_json(struct shardcask_value *value, const char *json, size_t size)
{
    struct sc_buf out = {0};
    enum sc_status status = sc_json_read(sc_slice(json, size), &out, sc_error_room());
    if (status != SC_OK) {
        sc_buf_fini(&out);
        return status;
    }
    free(value->data);
    from_buf(value, &out);
    return SC_OK;
}

/* ---- Decoders ---- */

int shardcask_value_get_bytes(const struct shardcask_value *value, const void **data, size_t *size)
{
    struct sc_mp mp = sc_mp(sc_slice(value->data, value->size));
    struct sc_slice bytes;
    if (!sc_mp_bytes(&mp, &bytes) || !sc_mp_done(&mp)) {
        return sc_fail(sc_error_room(), SC_WRONGTYPE, "the value is neither a str nor a bin");
    }
    *data = bytes.data;
    *size = bytes.size;
    return SC_OK;
}

int shardcask_value_get_int(const struct shardcask_value *value, int64_t *number)
{
    struct sc_mp mp = sc_mp(sc_slice(value->data, value->size));
    int64_t read = 0;
    if (!sc_mp_int(&mp, &read) || !sc_mp_done(&mp)) {
        return sc_fail(sc_error_room(), SC_WRONGTYPE,
                       "the value is not an integer from -2^63 to 2^63-1");
    }
    *number = read;
    return SC_OK;
}

int shardcask_value_get_json(const struct shardcask_value *value, char **json, size_t *size)
{
    struct sc_buf out = {0};
    enum sc_status status =
        sc_json_write(sc_slice(value->data, value->size), &out, sc_error_room());
    if (status != SC_OK) {
        sc_buf_fini(&out);
        return status;
    }
    size_t length = out.size;
    sc_buf_append(&out, "", 1);
    *json = (char *)out.data;
    if (size != NULL) {
        *size = length;
    }
    return SC_OK;
}
