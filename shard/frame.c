#include "shard/frame.h"

void sc_frame_put(struct sc_buf *frame, const struct sc_record *record)
{
    size_t size = (size_t)sc_record_size(record->key.size, record->value.size);
    sc_record_encode(sc_buf_reserve(frame, size), record, SC_FRAME_SEED);
    frame->size += size;
}

bool sc_frame_next(struct sc_slice *frame, struct sc_record *record)
{
    const uint8_t *bytes = frame->data;
    struct sc_record_extent extent;
    if (frame->size < SC_RECORD_HEADER_SIZE || !sc_record_extent(bytes, &extent) ||
        extent.size > frame->size || !sc_record_decode(bytes, &extent, SC_FRAME_SEED, record) ||
        !sc_record_value_ok(bytes, record->value) || record->version == 0) {
        return false;
    }
    *frame = sc_slice(bytes + extent.size, frame->size - (size_t)extent.size);
    return true;
}
