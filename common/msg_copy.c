#include "common/msg_copy.h"

#include "common/limits.h"
#include "common/msg.h"

#include <assert.h>
#include <string.h>

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

/* [dir, copy, rate] */
static enum sc_status parse_backup(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    struct sc_msg_copy *copy = &request->copy;
    if (!sc_mp_str(mp, &copy->dir) || !sc_msg_dir_ok(copy->dir)) {
        return bad(request, why, "the directory must be an absolute path");
    }
    return sc_mp_bool(mp, &copy->link) && sc_mp_uint(mp, &copy->rate) &&
                   sc_mp_uint(mp, &copy->label) && copy->label > 0
               ? SC_OK
               : bad(request, why, "then come whether to link files, a rate, and a label");
}

bool sc_msg_dir_ok(struct sc_slice dir)
{
    return dir.size > 0 && dir.size <= SC_MSG_DIR_MAX && *(const char *)dir.data == '/' &&
           memchr(dir.data, '\0', dir.size) == NULL;
}

enum sc_status sc_msg_parse_copy(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    struct sc_msg_copy *copy = &request->copy;
    *copy = (struct sc_msg_copy){0};
    if (!sc_mp_uint(mp, &copy->id) || copy->id == 0) {
        return bad(request, why, "the id must be a whole number from 1");
    }
    switch (request->op) {
    case SC_OP_X_SNAPSHOT:
    case SC_OP_X_BACKUP:
        if (!sc_mp_uint(mp, &copy->epoch)) {
            return bad(request, why, "the epoch must be a whole number");
        }
        return request->op == SC_OP_X_BACKUP ? parse_backup(mp, request, why) : SC_OK;
    case SC_OP_X_PROGRESS:
        return sc_mp_bool(mp, &copy->go_on)
                   ? SC_OK
                   : bad(request, why, "whether it is to go on must be a bool");
    case SC_OP_SNAPSHOT_READ:
        if (!sc_mp_uint(mp, &copy->shard_id)) {
            return bad(request, why, "the shard's id must be a whole number");
        }
        break;
    case SC_OP_X_PAGE:
        break;
    default:
        return SC_OK;
    }
    return read_cursor(mp, &copy->cursor)
               ? SC_OK
               : bad(request, why, "the cursor must be nil at first, then what the last page gave");
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

void sc_msg_put_x_backup(struct sc_buf *out, uint64_t id, uint64_t epoch, struct sc_slice dir,
                         bool link, uint64_t rate, uint64_t label)
{
    sc_msg_put_op(out, SC_OP_X_BACKUP, 6);
    sc_mp_put_uint(out, id);
    sc_mp_put_uint(out, epoch);
    sc_mp_put_str(out, dir);
    sc_mp_put_bool(out, link);
    sc_mp_put_uint(out, rate);
    sc_mp_put_uint(out, label);
}

void sc_msg_put_x_progress(struct sc_buf *out, uint64_t id, bool go_on)
{
    sc_msg_put_op(out, SC_OP_X_PROGRESS, 2);
    sc_mp_put_uint(out, id);
    sc_mp_put_bool(out, go_on);
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

/* ---- Progress of a backup ---- */

void sc_msg_reply_progress(struct sc_buf *out, const struct sc_msg_progress *progress)
{
    bool done = progress->state == SC_MSG_BACKUP_DONE;
    sc_mp_put_array(out, 8);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_uint(out, progress->state);
    sc_mp_put_bool(out, progress->cut);
    sc_mp_put_uint(out, progress->bytes);
    sc_mp_put_uint(out, progress->bytes_done);
    sc_mp_put_uint(out, (uint64_t)progress->status);
    sc_mp_put_str(out, progress->why);
    if (!done) {
        sc_mp_put_nil(out);
        return;
    }
    sc_mp_put_array(out, 6);
    sc_mp_put_uint(out, progress->time_ms);
    sc_mp_put_uint(out, progress->keys);
    sc_mp_put_uint(out, progress->version);
    sc_mp_put_uint(out, progress->damaged);
    sc_mp_put_uint(out, progress->linked_bytes);
    sc_mp_put_array(out, progress->file_count);
}

void sc_msg_put_backup_file(struct sc_buf *out, const struct sc_msg_backup_file *file)
{
    sc_mp_put_array(out, 4);
    sc_mp_put_str(out, file->name);
    sc_mp_put_uint(out, file->size);
    sc_mp_put_uint(out, file->checksum);
    sc_mp_put_bool(out, file->linked);
}

static bool read_file(struct sc_mp *mp, struct sc_msg_backup_file *file)
{
    uint32_t members;
    return sc_mp_array(mp, &members) && members == 4 && sc_mp_str(mp, &file->name) &&
           sc_mp_uint(mp, &file->size) && sc_mp_uint(mp, &file->checksum) &&
           sc_mp_bool(mp, &file->linked) && file->name.size > 0 && file->name.size < 64 &&
           memchr(file->name.data, '/', file->name.size) == NULL &&
           memchr(file->name.data, '\0', file->name.size) == NULL;
}

/* Checks the files and leaves the cursor behind them. */
static bool check_files(struct sc_mp mp, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct sc_msg_backup_file file;
        if (!read_file(&mp, &file)) {
            return false;
        }
    }
    return sc_mp_done(&mp);
}

bool sc_msg_take_progress(struct sc_mp *mp, struct sc_msg_progress *progress)
{
    uint64_t state;
    uint64_t status;
    uint32_t members;
    *progress = (struct sc_msg_progress){0};
    if (!sc_mp_uint(mp, &state) || state > SC_MSG_BACKUP_FAILED ||
        !sc_mp_bool(mp, &progress->cut) || !sc_mp_uint(mp, &progress->bytes) ||
        !sc_mp_uint(mp, &progress->bytes_done) || !sc_mp_uint(mp, &status) ||
        status > SC_INTERNAL || !sc_mp_str(mp, &progress->why)) {
        return false;
    }
    progress->state = (enum sc_msg_backup_state)state;
    progress->status = (int)status;
    if (progress->state != SC_MSG_BACKUP_DONE) {
        return sc_mp_nil(mp);
    }
    if (!sc_mp_array(mp, &members) || members != 6 || !sc_mp_uint(mp, &progress->time_ms) ||
        !sc_mp_uint(mp, &progress->keys) || !sc_mp_uint(mp, &progress->version) ||
        !sc_mp_uint(mp, &progress->damaged) || !sc_mp_uint(mp, &progress->linked_bytes) ||
        !sc_mp_array(mp, &progress->file_count)) {
        return false;
    }
    progress->files = *mp;
    return check_files(*mp, progress->file_count);
}

struct sc_msg_backup_file sc_msg_next_backup_file(struct sc_mp *files)
{
    struct sc_msg_backup_file file = {0};
    bool good = read_file(files, &file);
    assert(good); /* they were checked */
    (void)good;
    return file;
}
