#include "shard/walk.h"

#include "shard/io.h"
#include "shard/segment.h"

#include <errno.h>

#define WINDOW_SIZE ((size_t)1 << 20)

void sc_walk_init(struct sc_walk *walk, int fd, uint64_t salt, uint64_t offset, uint64_t end,
                  const struct sc_manifest_void *voids, size_t void_count)
{
    *walk = (struct sc_walk){
        .fd = fd,
        .salt = salt,
        .offset = offset,
        .end = end,
        .voids = voids,
        .void_count = void_count,
        .window_offset = offset,
        .status = SC_OK,
    };
}

void sc_walk_init_source(struct sc_walk *walk, struct sc_walk_source source, uint64_t salt,
                         uint64_t offset, uint64_t end, const struct sc_manifest_void *voids,
                         size_t void_count)
{
    sc_walk_init(walk, -1, salt, offset, end, voids, void_count);
    walk->source = source;
}

void sc_walk_fini(struct sc_walk *walk)
{
    sc_buf_fini(&walk->window);
}

static ssize_t read_bytes(const struct sc_walk *walk, void *to, size_t size, uint64_t offset)
{
    return walk->source.read != NULL ? walk->source.read(walk->source.arg, to, size, offset)
                                     : sc_io_read(walk->fd, to, size, offset);
}

/* Makes the window begin at `offset` and hold at least `size` bytes, all of them before the end. */
static bool fill(struct sc_walk *walk, uint64_t offset, size_t size)
{
    size_t passed = (size_t)(offset - walk->window_offset);
    if (passed < walk->window.size) {
        sc_buf_consume(&walk->window, passed);
    } else {
        walk->window.size = 0;
    }
    walk->window_offset = offset;
    size_t wanted = size > WINDOW_SIZE ? size : WINDOW_SIZE;
    if (wanted > walk->end - offset) {
        wanted = (size_t)(walk->end - offset);
    }
    size_t more = wanted - walk->window.size;
    uint8_t *to = sc_buf_reserve(&walk->window, more);
    ssize_t got = read_bytes(walk, to, more, offset + walk->window.size);
    if (got < (ssize_t)more) {
        /* Fewer bytes than the file's size promised: it shrank under our eyes. */
        walk->error = got < 0 ? errno : EIO;
        walk->status = SC_IO;
        return false;
    }
    walk->window.size += more;
    return true;
}

/* The bytes at `offset`, at least `size` of them; NULL when reading fails. All must lie before the
 * end, and `offset` not before an earlier one. */
static const uint8_t *bytes_at(struct sc_walk *walk, uint64_t offset, size_t size)
{
    uint64_t at = offset - walk->window_offset;
    if (at + size > walk->window.size) {
        if (!fill(walk, offset, size)) {
            return NULL;
        }
        at = 0;
    }
    return walk->window.data + at;
}

enum found { FOUND, FOUND_NOTHING, FOUND_ERROR };

/* Looks for a whole header and key at `offset` and, when there is one, judges the value. */
static enum found look(struct sc_walk *walk, uint64_t offset, struct sc_walk_item *item)
{
    uint64_t left = walk->end - offset;
    if (left < SC_RECORD_HEADER_SIZE || offset >= SC_SEGMENT_SIZE_MAX) {
        return FOUND_NOTHING;
    }
    const uint8_t *at = bytes_at(walk, offset, SC_RECORD_HEADER_SIZE);
    struct sc_record_extent extent;
    if (at == NULL) {
        return FOUND_ERROR;
    }
    if (!sc_record_extent(at, &extent) || SC_RECORD_HEADER_SIZE + extent.key_size > left) {
        return FOUND_NOTHING;
    }
    at = bytes_at(walk, offset, SC_RECORD_HEADER_SIZE + extent.key_size);
    if (at == NULL) {
        return FOUND_ERROR;
    }
    if (!sc_record_decode(at, &extent, walk->salt ^ offset, &item->record)) {
        return FOUND_NOTHING;
    }
    item->kind = SC_WALK_CUT;
    item->offset = offset;
    item->size = extent.size;
    if (extent.size > left) {
        return FOUND;
    }
    at = bytes_at(walk, offset, (size_t)extent.size);
    if (at == NULL) {
        return FOUND_ERROR;
    }
    /* The window may have moved: the slices anew. */
    item->record.key.data = at + SC_RECORD_HEADER_SIZE;
    item->record.value.data = at + SC_RECORD_HEADER_SIZE + extent.key_size;
    item->kind = item->record.lost || sc_record_value_ok(at, item->record.value)
                     ? SC_WALK_RECORD
                     : SC_WALK_BAD_VALUE;
    return FOUND;
}

/* Where the next void begins; the end when there is none. */
static uint64_t next_void(const struct sc_walk *walk)
{
    return walk->void_count > 0 && walk->voids[0].offset < walk->end ? walk->voids[0].offset
                                                                     : walk->end;
}

static void skip_voids(struct sc_walk *walk)
{
    while (walk->void_count > 0 && walk->voids[0].offset <= walk->offset) {
        uint64_t end = walk->voids[0].offset + walk->voids[0].size;
        walk->offset = end > walk->offset ? end : walk->offset;
        walk->voids++;
        walk->void_count--;
    }
}

bool sc_walk_next(struct sc_walk *walk, struct sc_walk_item *item)
{
    skip_voids(walk);
    if (walk->offset >= walk->end || walk->status != SC_OK) {
        return false;
    }
    uint64_t start = walk->offset;
    enum found found = look(walk, start, item);
    if (found == FOUND) {
        walk->offset = start + item->size;
        return true;
    }
    uint64_t stop = next_void(walk);
    uint64_t at = start;
    while (found == FOUND_NOTHING && at < stop) {
        at += SC_RECORD_UNIT;
        found = at < stop ? look(walk, at, item) : FOUND_NOTHING;
    }
    if (found == FOUND_ERROR) {
        return false;
    }
    /* Found or not: the stretch before is reported first, what was found is found again. */
    uint64_t end = at < stop ? at : stop;
    *item = (struct sc_walk_item){SC_WALK_DAMAGE, start, end - start, {0}};
    walk->offset = end;
    return true;
}
