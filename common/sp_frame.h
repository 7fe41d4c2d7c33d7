/*
 * SP framing without any network: the 8 bytes of the handshake, the prefix of a frame and the
 * header words in front of a body. common/sp.h describes the bytes.
 *
 * Reading copies nothing: what is found are ranges of the bytes given. Writing appends to a buffer
 * and fills in the length afterwards.
 */
#ifndef SC_COMMON_SP_FRAME_H
#define SC_COMMON_SP_FRAME_H

#include "common/buf.h"
#include "common/sp.h"

#define SC_SP_FRAME_HANDSHAKE 8
#define SC_SP_FRAME_REQ 0x0030u
#define SC_SP_FRAME_REP 0x0031u

/* Bytes of the hop words and the id at most; a frame's payload may exceed a body by so much. */
#define SC_SP_FRAME_WORDS_MAX ((size_t)4 * (SC_SP_HOPS_MAX + 1))

/* Bytes in front of the payload: the length, on ipc with one byte before it. */
static inline size_t sc_sp_frame_prefix(bool ipc)
{
    return ipc ? 9 : 8;
}

void sc_sp_frame_handshake_put(uint8_t to[SC_SP_FRAME_HANDSHAKE], uint16_t protocol);

/* Reads a handshake. False: this is not SP at all. */
bool sc_sp_frame_handshake_get(const uint8_t from[SC_SP_FRAME_HANDSHAKE], uint16_t *protocol);

enum sc_sp_frame_found { SC_SP_FRAME_WHOLE, SC_SP_FRAME_PART, SC_SP_FRAME_BAD };

/* Looks at the first frame of `size` bytes. WHOLE: `payload` is its payload and `total` its length
 * with the prefix. PART: more bytes are needed; `total` is how many in all, 0 while the prefix
 * itself is incomplete. BAD: no frame, or a payload of more than `payload_max` bytes. */
enum sc_sp_frame_found sc_sp_frame_find(const uint8_t *data, size_t size, bool ipc,
                                        size_t payload_max, struct sc_slice *payload,
                                        size_t *total);

enum sc_sp_frame_header { SC_SP_FRAME_HEADER_OK, SC_SP_FRAME_HEADER_DROP, SC_SP_FRAME_HEADER_BAD };

/* Counts the words in front of the body, the request id included, into `words`. DROP: more than
 * SC_SP_HOPS_MAX hops, to be ignored as the protocol wants it. BAD: the payload ends before an
 * id. */
enum sc_sp_frame_header sc_sp_frame_header(struct sc_slice payload, uint32_t *words);

/* Appends a prefix with its length left open and the header words as they are; what is appended to
 * the buffer next is the body. Returns where the frame begins, for sc_sp_frame_end. */
size_t sc_sp_frame_begin(struct sc_buf *out, bool ipc, struct sc_slice words);

/* Fills in the length of the frame that begins at `begin` and ends at the end of the buffer. */
void sc_sp_frame_end(struct sc_buf *out, bool ipc, size_t begin);

#endif
