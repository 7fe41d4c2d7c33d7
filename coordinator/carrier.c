#include "coordinator/carrier.h"

#include "common/clock.h"
#include "common/failpoint.h"

#include <stdlib.h>

#define CLOSE ((uint64_t)256 << 10) /* bytes of log that are little ... */
#define CLOSE_READS 2u /* ... if they have not become less in so many reads ... */
#define VERY_CLOSE ((uint64_t)16 << 10) /* ... and that are in any case */
#define SYNCED_BYTES ((uint64_t)256 << 10) /* so much takes no time to sync */
#define STUCK_READS 8u /* reads in a row after which the log that is left has not shrunk */
#define POLL_MS 1u /* the source has to sync before it gives out more */

static void keep(struct sc_buf *to, struct sc_slice from)
{
    to->size = 0;
    sc_buf_append_slice(to, from);
}

void sc_carrier_init(struct sc_carrier *carrier, struct sc_errands *errands,
                     const struct sc_cluster_batch *batch, uint64_t keys, uint64_t bytes)
{
    *carrier =
        (struct sc_carrier){.errands = errands, .move = batch->move, .keys = keys, .bytes = bytes};
    carrier->ranges = sc_calloc(SC_SLOT_COUNT / 2, sizeof *carrier->ranges);
    SC_SLOTSET_EACH_RANGE (range, &batch->slots) {
        carrier->ranges[carrier->range_count++] = range;
    }
    sc_carrier_forget_gap(carrier);
}

void sc_carrier_fini(struct sc_carrier *carrier)
{
    sc_buf_fini(&carrier->mark);
    sc_buf_fini(&carrier->cursor);
    sc_buf_fini(&carrier->written);
    sc_buf_fini(&carrier->sent_cursor);
    sc_buf_fini(&carrier->frame);
    sc_buf_fini(&carrier->frame_cursor);
    free(carrier->ranges);
}

/* ---- Questions ---- */

bool sc_carrier_import(struct sc_carrier *carrier, struct sc_backend *target)
{
    struct sc_buf request = {0};
    sc_failpoint("move_before_import");
    sc_msg_put_import(&request, carrier->move, carrier->ranges, carrier->range_count,
                      carrier->bytes, carrier->keys);
    return sc_errands_ask(carrier->errands, target, SC_OP_X_IMPORT, &request);
}

bool sc_carrier_export(struct sc_carrier *carrier, struct sc_backend *source)
{
    struct sc_buf request = {0};
    sc_failpoint("move_before_export");
    sc_msg_put_export(&request, carrier->move, carrier->ranges, carrier->range_count,
                      sc_buf_slice(&carrier->mark));
    return sc_errands_ask(carrier->errands, source, SC_OP_X_EXPORT, &request);
}

bool sc_carrier_seal(struct sc_carrier *carrier, struct sc_backend *source, uint64_t until_ms)
{
    struct sc_buf request = {0};
    sc_failpoint("move_before_seal");
    sc_msg_put_seal(&request, carrier->move, carrier->export_token, until_ms);
    return sc_errands_ask(carrier->errands, source, SC_OP_X_SEAL, &request);
}

bool sc_carrier_finish(struct sc_carrier *carrier, struct sc_backend *target,
                       const struct sc_msg_seal_reply *sealed)
{
    struct sc_buf request = {0};
    sc_failpoint("move_before_finish");
    sc_msg_put_finish(&request, carrier->move, carrier->import_token, sealed->count, sealed->digest,
                      sealed->version);
    return sc_errands_ask(carrier->errands, target, SC_OP_X_FINISH, &request);
}

bool sc_carrier_release(struct sc_carrier *carrier, struct sc_backend *source)
{
    struct sc_buf request = {0};
    sc_msg_put_release(&request, carrier->move);
    return sc_errands_ask(carrier->errands, source, SC_OP_X_RELEASE, &request);
}

bool sc_carrier_drop(struct sc_carrier *carrier, struct sc_backend *target)
{
    struct sc_buf request = {0};
    sc_msg_put_drop(&request, carrier->move);
    return sc_errands_ask(carrier->errands, target, SC_OP_X_DROP, &request);
}

/* ---- Beginning ---- */

void sc_carrier_begin(struct sc_carrier *carrier, const struct sc_msg_import_reply *imported)
{
    carrier->import_token = imported->token;
    keep(&carrier->cursor, imported->cursor);
    keep(&carrier->written, imported->cursor);
    keep(&carrier->mark, imported->mark);
}

bool sc_carrier_exported(struct sc_carrier *carrier, const struct sc_msg_export_reply *exported)
{
    if (carrier->mark.size > 0 && !sc_slice_equal(exported->mark, sc_buf_slice(&carrier->mark))) {
        return false;
    }
    carrier->export_token = exported->token;
    carrier->bytes = exported->bytes;
    keep(&carrier->mark, exported->mark);
    return true;
}

void sc_carrier_rewind(struct sc_carrier *carrier, uint64_t delay_ms)
{
    sc_errands_forget(carrier->errands);
    carrier->reading = carrier->writing = carrier->has_frame = carrier->read_all = false;
    carrier->syncing = false;
    carrier->read_ms = sc_clock_mono_ms() + delay_ms;
    keep(&carrier->cursor, sc_buf_slice(&carrier->written));
}

void sc_carrier_begin_rest(struct sc_carrier *carrier)
{
    carrier->read_all = false;
}

/* ---- What is left ---- */

void sc_carrier_watch_gap(struct sc_carrier *carrier)
{
    carrier->least_gap = SC_MSG_GAP_UNKNOWN;
    carrier->reads_since_least = 0;
}

void sc_carrier_forget_gap(struct sc_carrier *carrier)
{
    carrier->gap = SC_MSG_GAP_UNKNOWN;
    sc_carrier_watch_gap(carrier);
}

bool sc_carrier_is_close(const struct sc_carrier *carrier)
{
    return carrier->gap < VERY_CLOSE ||
           (carrier->gap < CLOSE && carrier->reads_since_least >= CLOSE_READS) ||
           (carrier->gap != SC_MSG_GAP_UNKNOWN && carrier->reads_since_least >= STUCK_READS);
}

static void note_gap(struct sc_carrier *carrier, uint64_t gap)
{
    carrier->gap = gap;
    if (gap < carrier->least_gap) {
        carrier->least_gap = gap;
        carrier->reads_since_least = 0;
    } else if (gap != SC_MSG_GAP_UNKNOWN) {
        carrier->reads_since_least++;
    }
}

/* ---- Reading and writing ---- */

void sc_carrier_write(struct sc_carrier *carrier, struct sc_backend *target)
{
    struct sc_buf request = {0};
    if (!carrier->has_frame || carrier->writing) {
        return;
    }
    sc_failpoint("move_before_write");
    sc_msg_put_write(&request, carrier->move, carrier->import_token,
                     sc_buf_slice(&carrier->frame_cursor), sc_buf_slice(&carrier->mark),
                     sc_buf_slice(&carrier->frame));
    carrier->sent += carrier->frame.size;
    carrier->writing = sc_errands_ask(carrier->errands, target, SC_OP_X_WRITE, &request);
    carrier->has_frame = !carrier->writing;
    keep(&carrier->sent_cursor, sc_buf_slice(&carrier->frame_cursor));
}

void sc_carrier_take_write(struct sc_carrier *carrier)
{
    carrier->writing = false;
    keep(&carrier->written, sc_buf_slice(&carrier->sent_cursor));
}

bool sc_carrier_can_read(const struct sc_carrier *carrier)
{
    return !carrier->reading && !carrier->has_frame && !carrier->read_all &&
           sc_clock_mono_ms() >= carrier->read_ms;
}

void sc_carrier_read(struct sc_carrier *carrier, struct sc_backend *source)
{
    struct sc_buf request = {0};
    sc_failpoint("move_before_read");
    sc_msg_put_read(&request, carrier->move, carrier->export_token, sc_buf_slice(&carrier->cursor));
    carrier->reading = sc_errands_ask(carrier->errands, source, SC_OP_X_READ, &request);
}

bool sc_carrier_take_read(struct sc_carrier *carrier, struct sc_msg_reply *reply, bool rest,
                          struct sc_sp_hub *hub, uint64_t *bytes)
{
    struct sc_msg_read_reply read;
    *bytes = 0;
    if (!sc_msg_read_read(reply, &read)) {
        return false;
    }
    carrier->reading = false;
    note_gap(carrier, read.gap);
    bool stands = sc_slice_equal(read.cursor, sc_buf_slice(&carrier->cursor));
    keep(&carrier->cursor, read.cursor);
    if (read.frame.size > 0) {
        keep(&carrier->frame, read.frame);
        keep(&carrier->frame_cursor, read.cursor);
        carrier->has_frame = true;
        carrier->bytes_done += read.frame.size;
        carrier->read_all = rest && read.gap == 0;
        *bytes = read.frame.size;
        return true;
    }
    if (!carrier->writing) {
        keep(&carrier->written, read.cursor);
    }
    if (rest && read.gap == 0) {
        carrier->read_all = true;
    } else if (stands) {
        carrier->read_ms = sc_clock_mono_ms() + POLL_MS;
        sc_sp_hub_set_timer(hub, carrier->read_ms);
    }
    return true;
}

bool sc_carrier_is_synced(const struct sc_carrier *carrier)
{
    return carrier->sent - carrier->sent_synced <= SYNCED_BYTES;
}

void sc_carrier_sync(struct sc_carrier *carrier, struct sc_backend *target)
{
    struct sc_buf request = {0};
    carrier->sent_at_sync = carrier->sent;
    sc_msg_put_op(&request, SC_OP_SYNC, 0);
    carrier->syncing = sc_errands_ask(carrier->errands, target, SC_OP_SYNC, &request);
}

void sc_carrier_take_sync(struct sc_carrier *carrier)
{
    carrier->syncing = false;
    carrier->sent_synced = carrier->sent_at_sync;
}

bool sc_carrier_is_idle(const struct sc_carrier *carrier)
{
    return !carrier->reading && !carrier->writing && !carrier->has_frame;
}
