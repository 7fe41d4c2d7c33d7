#include "common/msg_copy.h"

#include "common/limits.h"
#include "common/msg.h"

static enum sc_status bad(const struct sc_msg_request *request, char *why, const char *expected)
{
    return sc_fail(why, SC_BADREQUEST, "%s: %s", sc_op_name(request->op), expected);
}

/* The cursor of a page: nil, or the key that the last one ended with. */
static bool read_cursor(struct sc_mp *mp, struct sc_slice *cursor)
{
    if (sc_mp_peek(mp) == SC_MP_NIL) {
        return sc_mp_nil(mp);
    }
    return sc_mp_bytes(mp, cursor) && cursor->size > 0 && cursor->size <= SC_KEY_MAX;
}

enum sc_status sc_msg_parse_copy(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    struct sc_msg_copy *copy = &request->copy;
    *copy = (struct sc_msg_copy){0};
    if (!sc_mp_uint(mp, &copy->id) || copy->id == 0) {
        return bad(request, why, "the snapshot's id must be a whole number that `snapshot` gave");
    }
    if (request->op == SC_OP_SNAPSHOT_READ && !sc_mp_uint(mp, &copy->shard_id)) {
        return bad(request, why, "the shard's id must be a whole number");
    }
    if (request->op == SC_OP_X_SNAPSHOT && !sc_mp_uint(mp, &copy->epoch)) {
        return bad(request, why, "the epoch must be a whole number");
    }
    if ((request->op == SC_OP_SNAPSHOT_READ || request->op == SC_OP_X_PAGE) &&
        !read_cursor(mp, &copy->cursor)) {
        return bad(request, why, "the cursor must be nil at first, then what the last page gave");
    }
    return SC_OK;
}

/* ---- Writing requests ---- */

static void put_cursor(struct sc_buf *out, struct sc_slice cursor)
{
    if (cursor.size > 0) {
        sc_mp_put_bin(out, cursor);
    } else {
        sc_mp_put_nil(out);
    }
}

void sc_msg_put_snapshot_read(struct sc_buf *out, uint64_t id, uint64_t shard_id,
                              struct sc_slice cursor)
{
    sc_msg_put_op(out, SC_OP_SNAPSHOT_READ, 3);
    sc_mp_put_uint(out, id);
    sc_mp_put_uint(out, shard_id);
    put_cursor(out, cursor);
}

void sc_msg_put_snapshot_close(struct sc_buf *out, uint64_t id)
{
    sc_msg_put_op(out, SC_OP_SNAPSHOT_CLOSE, 1);
    sc_mp_put_uint(out, id);
}

void sc_msg_put_x_snapshot(struct sc_buf *out, uint64_t id, uint64_t epoch)
{
    sc_msg_put_op(out, SC_OP_X_SNAPSHOT, 2);
    sc_mp_put_uint(out, id);
    sc_mp_put_uint(out, epoch);
}

void sc_msg_put_x_page(struct sc_buf *out, uint64_t id, struct sc_slice cursor)
{
    sc_msg_put_op(out, SC_OP_X_PAGE, 2);
    sc_mp_put_uint(out, id);
    put_cursor(out, cursor);
}

void sc_msg_put_x_forget(struct sc_buf *out, uint64_t id)
{
    sc_msg_put_op(out, SC_OP_X_FORGET, 1);
    sc_mp_put_uint(out, id);
}

/* ---- Reading pages ---- */

bool sc_msg_take_page(struct sc_mp *mp, struct sc_slice *next, uint64_t *now_ms, uint32_t *count)
{
    *next = (struct sc_slice){NULL, 0};
    return read_cursor(mp, next) && sc_mp_uint(mp, now_ms) && sc_mp_array(mp, count);
}

bool sc_msg_take_copied(struct sc_mp *mp, struct sc_msg_copied *copied)
{
    uint32_t members;
    uint64_t status;
    *copied = (struct sc_msg_copied){.status = SC_OK};
    if (!sc_mp_array(mp, &members) || !sc_mp_bytes(mp, &copied->key)) {
        return false;
    }
    if (members == 3) {
        bool good = sc_mp_uint(mp, &status) && status > 0 && status <= SC_INTERNAL;
        copied->status = good ? (int)status : SC_INTERNAL;
        return good && sc_mp_str(mp, &copied->why);
    }
    if (members != 4 || !sc_mp_skip(mp, &copied->value) || !sc_mp_uint(mp, &copied->version)) {
        return false;
    }
    return sc_mp_peek(mp) == SC_MP_NIL ? sc_mp_nil(mp) : sc_mp_uint(mp, &copied->expires_ms);
}
