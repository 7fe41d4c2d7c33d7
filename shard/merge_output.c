#include "shard/merge_impl.h"

#include "common/failpoint.h"
#include "shard/hint.h"
#include "shard/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FLUSH_BYTES ((size_t)128 << 10) /* short work: others want the processor too */
#define LOST_MAX 1024u /* values; what is more the next scrub tells of */

enum sc_status sc_merge_output_fail(const struct sc_merge *merge, const struct sc_segment *segment,
                                    const char *doing, char *why)
{
    char name[SC_FILES_NAME_SIZE];
    int error = errno;
    sc_files_data_name(name, segment->number);
    errno = error;
    return sc_files_fail(&merge->store->files, doing, name, why);
}

static struct sc_segment *last_output(const struct sc_merge *merge)
{
    return merge->output_count > 0 ? merge->outputs[merge->output_count - 1].segment : NULL;
}

static enum sc_status add_output(struct sc_merge *merge, char *why)
{
    struct sc_bitcask *store = merge->store;
    uint64_t salt;
    uint64_t number;
    if (getrandom(&salt, sizeof salt, 0) != (ssize_t)sizeof salt) {
        return sc_fail(why, SC_IO, "cannot get random bytes: %s", strerror(errno));
    }
    sc_failpoint("merge_before_reserve");
    enum sc_status status = sc_manifest_reserve(store->manifest, &number, why);
    if (status != SC_OK) {
        return status;
    }
    sc_failpoint("merge_reserved");
    struct sc_segment_owner owner = sc_writer_owner(store->manifest);
    struct sc_segment *segment;
    status = sc_segment_create(&store->files, number, salt, &owner, &segment, why);
    if (status != SC_OK) {
        return SC_IO;
    }
    sc_failpoint("merge_output_created");
    segment->clean = merge->clean;
    segment->full_size = store->writer.file_size_max;
    merge->outputs = sc_realloc(merge->outputs, (merge->output_count + 1) * sizeof *merge->outputs);
    merge->outputs[merge->output_count++] = (struct sc_merge_output){.segment = segment};
    return SC_OK;
}

/* Writes what is in the buffer to the last output. */
static enum sc_status flush_output(struct sc_merge *merge, char *why)
{
    struct sc_segment *segment = last_output(merge);
    size_t size = merge->buffer.size;
    if (size == 0) {
        return SC_OK;
    }
    uint64_t offset = segment->size - size;
    if (sc_io_write(segment->fd, merge->buffer.data, size, offset) != 0) {
        return sc_merge_output_fail(merge, segment, "write", why);
    }
    sc_io_flush(segment->fd);
    sc_buf_reset(&merge->buffer, SC_MERGE_BUFFER_KEEP);
    sc_failpoint("merge_output_written");
    return sc_merge_proceed(merge, size, why);
}

/* Brings the last output to the disk. */
enum sc_status sc_merge_output_finish(struct sc_merge *merge, char *why)
{
    struct sc_bitcask *store = merge->store;
    struct sc_segment *segment = last_output(merge);
    if (segment == NULL) {
        return SC_OK;
    }
    enum sc_status status = flush_output(merge, why);
    if (status != SC_OK) {
        return status;
    }
    if (sc_io_truncate(segment->fd, segment->size) != 0) {
        return sc_merge_output_fail(merge, segment, "cut", why);
    }
    segment->allocated = segment->size;
    if (sc_io_fdatasync(segment->fd) != 0) {
        return sc_merge_output_fail(merge, segment, "sync", why);
    }
    sc_failpoint("merge_output_synced");
    status = sc_hint_build(&store->files, segment->number, segment->salt, NULL, 0, why);
    sc_failpoint("merge_hint_written");
    segment->sealed = true;
    segment->settled = true;
    segment->hinted = segment->size;
    return status;
}

static void remember_lost(struct sc_merge *merge, const struct sc_record *record, uint64_t size)
{
    const struct sc_segment *segment = last_output(merge);
    if (merge->lost_count == LOST_MAX) {
        return;
    }
    if (merge->lost == NULL) {
        merge->lost = sc_calloc(LOST_MAX, sizeof *merge->lost);
    }
    struct sc_merge_lost *lost = &merge->lost[merge->lost_count++];
    *lost = (struct sc_merge_lost){segment->number, segment->size, size, record->version, {0}};
    sc_buf_append_slice(&lost->key, record->key);
}

void sc_merge_output_forget_lost(struct sc_merge *merge)
{
    for (size_t i = 0; i < merge->lost_count; i++) {
        sc_buf_fini(&merge->lost[i].key);
    }
    free(merge->lost);
    merge->lost = NULL;
    merge->lost_count = 0;
}

/* The outputs are part of the store now: notes what they say. */
void sc_merge_output_note_lost(struct sc_merge *merge)
{
    for (size_t i = 0; i < merge->lost_count; i++) {
        const struct sc_merge_lost *lost = &merge->lost[i];
        const struct sc_damage damage = {
            .kind = SC_DAMAGE_LOST,
            .file = lost->file,
            .offset = lost->offset,
            .size = lost->size,
            .key = sc_buf_slice(&lost->key),
            .version = lost->version,
            .live = true,
        };
        (void)sc_bitcask_note_damage(merge->store, &damage);
    }
}

enum sc_status sc_merge_output_put(struct sc_merge *merge, const struct sc_record *record,
                                   char *why)
{
    size_t size = (size_t)sc_record_size(record->key.size, record->value.size);
    struct sc_segment *segment = last_output(merge);
    enum sc_status status = SC_OK;
    if (segment == NULL || segment->size + size > merge->store->writer.file_size_max) {
        status = sc_merge_output_finish(merge, why);
        if (status == SC_OK) {
            status = add_output(merge, why);
        }
        if (status != SC_OK) {
            return status;
        }
        segment = last_output(merge);
    }
    if (!sc_segment_allocate(segment, size, true)) {
        return sc_merge_output_fail(merge, segment, "get disk space for", why);
    }
    if (record->lost) {
        remember_lost(merge, record, size);
    }
    sc_record_encode(sc_buf_reserve(&merge->buffer, size), record, segment->salt ^ segment->size);
    merge->buffer.size += size;
    segment->size += size;
    sc_segment_note(segment, record->kind != SC_RECORD_PUT, record->version, size);
    return merge->buffer.size >= FLUSH_BYTES ? flush_output(merge, why) : SC_OK;
}

/* Of outputs that are not in the store's table. */
uint64_t sc_merge_output_bytes(const struct sc_merge *merge)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < merge->output_count; i++) {
        const struct sc_segment *segment = merge->outputs[i].segment;
        bytes += segment->size > segment->allocated ? segment->size : segment->allocated;
    }
    return bytes;
}
