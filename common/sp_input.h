/*
 * The receive buffer of a connection: bytes that have arrived and wait to be handled, and room for
 * the next ones. Its size follows the traffic:
 *
 *   - 4 KiB at rest, so that a thousand idle connections cost little;
 *   - 64 KiB once a receive has filled it, so that a busy connection needs few receives;
 *   - twice as much whenever it is full, up to the frame that is arriving. A frame gets only the
 *     memory that its bytes have earned by arriving, whatever length it claims;
 *   - smaller again when much of it has not been needed for a while, at once when it is very large.
 *
 * Bytes do not move while they are being handled: only sc_sp_input_room moves what is left to the
 * front.
 */
#ifndef SC_COMMON_SP_INPUT_H
#define SC_COMMON_SP_INPUT_H

#include "common/buf.h"

#define SC_SP_INPUT_SMALL ((size_t)4096) /* at rest */
#define SC_SP_INPUT_STEP ((size_t)64 << 10) /* under load */
#define SC_SP_INPUT_LARGE ((size_t)1 << 20) /* shrinks as soon as it can */
#define SC_SP_INPUT_PATIENCE 32u /* receives that need little before it shrinks */

/* All zero is an empty buffer. */
struct sc_sp_input {
    uint8_t *data;
    size_t begin, end; /* of the bytes that wait */
    size_t capacity;
    /* Set by the user: length of the frame that has begun to arrive, 0 if it is not known. */
    size_t need;
    bool filled; /* the last receive left no room */
    uint32_t roomy; /* receives in a row that a quarter of the buffer would have done for */
};

void sc_sp_input_fini(struct sc_sp_input *input);

/* The bytes that wait. Valid until sc_sp_input_room or sc_sp_input_trim. */
static inline struct sc_slice sc_sp_input_bytes(const struct sc_sp_input *input)
{
    return sc_slice(input->data + input->begin, input->end - input->begin);
}

/* Takes `size` bytes off the front. */
void sc_sp_input_consume(struct sc_sp_input *input, size_t size);

/* Readies the buffer for the next receive: at least one byte of `room` is there. */
uint8_t *sc_sp_input_room(struct sc_sp_input *input, size_t *room);

/* `size` bytes have been put into the room. */
void sc_sp_input_received(struct sc_sp_input *input, size_t size);

/* Gives back what memory can be spared, when nothing has come for long. */
void sc_sp_input_trim(struct sc_sp_input *input);

/* True when sc_sp_input_trim would free something worth the trouble. */
static inline bool sc_sp_input_trimmable(const struct sc_sp_input *input)
{
    return input->capacity > SC_SP_INPUT_SMALL && input->end - input->begin < input->capacity / 2;
}

#endif
