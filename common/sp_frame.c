#include "common/sp_frame.h"

#include <assert.h>

#include "common/bytes.h"

#define IPC_MARK 1 /* the byte before every length on ipc */
#define ID_BIT UINT32_C(0x80000000)

static const uint8_t magic[4] = {0, 'S', 'P', 0};

void sc_sp_frame_handshake_put(uint8_t to[SC_SP_FRAME_HANDSHAKE], uint16_t protocol)
{
    memcpy(to, magic, sizeof magic);
    sc_be16_put(to + 4, protocol);
    sc_be16_put(to + 6, 0);
}

bool sc_sp_frame_handshake_get(const uint8_t from[SC_SP_FRAME_HANDSHAKE], uint16_t *protocol)
{
    *protocol = sc_be16_get(from + 4);
    return memcmp(from, magic, sizeof magic) == 0 && sc_be16_get(from + 6) == 0;
}

enum sc_sp_frame_found sc_sp_frame_find(const uint8_t *data, size_t size, bool ipc,
                                        size_t payload_max, struct sc_slice *payload, size_t *total)
{
    size_t prefix = sc_sp_frame_prefix(ipc);
    *total = 0;
    if (ipc && size > 0 && data[0] != IPC_MARK) {
        return SC_SP_FRAME_BAD;
    }
    if (size < prefix) {
        return SC_SP_FRAME_PART;
    }
    uint64_t length = sc_be64_get(data + prefix - 8);
    if (length > payload_max) {
        return SC_SP_FRAME_BAD;
    }
    *total = prefix + (size_t)length;
    if (size < *total) {
        return SC_SP_FRAME_PART;
    }
    *payload = sc_slice(data + prefix, (size_t)length);
    return SC_SP_FRAME_WHOLE;
}

enum sc_sp_frame_header sc_sp_frame_header(struct sc_slice payload, uint32_t *words)
{
    const uint8_t *data = payload.data;
    for (uint32_t count = 0; count <= SC_SP_HOPS_MAX; count++) {
        if (payload.size - 4 * (size_t)count < 4) {
            return SC_SP_FRAME_HEADER_BAD;
        }
        if (sc_be32_get(data + 4 * (size_t)count) & ID_BIT) {
            *words = count + 1;
            return SC_SP_FRAME_HEADER_OK;
        }
    }
    return SC_SP_FRAME_HEADER_DROP;
}

size_t sc_sp_frame_begin(struct sc_buf *out, bool ipc, struct sc_slice words)
{
    size_t begin = out->size;
    size_t prefix = sc_sp_frame_prefix(ipc);
    uint8_t *to = sc_buf_reserve(out, prefix + words.size);
    to[0] = IPC_MARK; /* on tcp the length overwrites it */
    memcpy(to + prefix, words.data, words.size);
    out->size += prefix + words.size;
    return begin;
}

void sc_sp_frame_end(struct sc_buf *out, bool ipc, size_t begin)
{
    size_t prefix = sc_sp_frame_prefix(ipc);
    assert(out->size >= begin + prefix);
    sc_be64_put(out->data + begin + prefix - 8, out->size - begin - prefix);
}
