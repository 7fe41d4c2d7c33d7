#include "shard/hint.h"

#include "common/bytes.h"
#include "shard/io.h"
#include "shard/segment.h"
#include "shard/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC "SCASKHNT"
#define FORMAT 1u
#define HEADER_SIZE 88u
#define CHECKED_SIZE 80u
#define BLOCK_HEAD_SIZE 16u
#define BLOCK_SIZE ((size_t)256 << 10) /* of entries, about */
#define BLOCK_SIZE_MAX ((size_t)512 << 10)
#define ENTRY_SIZE 28u

/* ---- Reading ---- */

struct reader {
    int fd;
    uint64_t salt;
    uint64_t covered;
    uint64_t end; /* of the hint file */
    struct sc_buf block;
    sc_hint_visit_fn *visit;
    void *arg;
};

static bool visit_block(const struct reader *reader, uint32_t count)
{
    const uint8_t *at = reader->block.data;
    const uint8_t *end = at + reader->block.size;
    for (uint32_t i = 0; i < count; i++) {
        if ((size_t)(end - at) < ENTRY_SIZE) {
            return false;
        }
        uint16_t key_size = sc_le16_get(at + 24);
        uint32_t value_size = sc_le32_get(at + 20);
        if (key_size == 0 || (size_t)(end - at) - ENTRY_SIZE < key_size) {
            return false;
        }
        struct sc_hint_entry entry = {
            .record = {.version = sc_le64_get(at),
                       .expires_ms = sc_le64_get(at + 8),
                       .kind = (enum sc_record_kind)at[26],
                       .key = {at + ENTRY_SIZE, key_size},
                       .value = {NULL, value_size}},
            .offset = (uint64_t)sc_le32_get(at + 16) * SC_RECORD_UNIT,
            .size = sc_record_size(key_size, value_size),
        };
        if (entry.offset >= reader->covered || entry.offset >= SC_SEGMENT_SIZE_MAX ||
            entry.size >= SC_RECORD_SIZE_MAX) {
            return false;
        }
        reader->visit(reader->arg, &entry);
        at += ENTRY_SIZE + key_size;
    }
    return at == end;
}

/* A hint that the disk cannot bring any more is worth as much as a damaged one; all other troubles
 * are not the hint's. */
static enum sc_status unreadable(const char *doing, char *why)
{
    bool lost = errno == EIO || errno == EUCLEAN || errno == EBADMSG;
    return sc_fail(why, lost ? SC_CORRUPT : SC_IO, "it cannot be %s: %s", doing, strerror(errno));
}

static enum sc_status read_blocks(struct reader *reader, char *why)
{
    uint64_t offset = HEADER_SIZE;
    while (offset < reader->end) {
        uint8_t head[BLOCK_HEAD_SIZE];
        ssize_t got = sc_io_read(reader->fd, head, sizeof head, offset);
        if (got < 0) {
            return unreadable("read", why);
        }
        uint32_t size = sc_le32_get(head);
        if (got < (ssize_t)sizeof head || size > BLOCK_SIZE_MAX ||
            size > reader->end - offset - sizeof head) {
            return sc_fail(why, SC_CORRUPT, "it is damaged at offset %" PRIu64, offset);
        }
        reader->block.size = 0;
        got = sc_io_read(reader->fd, sc_buf_reserve(&reader->block, size), size,
                         offset + sizeof head);
        if (got < 0) {
            return unreadable("read", why);
        }
        reader->block.size = (size_t)got;
        if ((size_t)got < size ||
            sc_le64_get(head + 8) !=
                XXH3_64bits_withSeed(reader->block.data, size, reader->salt ^ offset)) {
            return sc_fail(why, SC_CORRUPT, "it is damaged at offset %" PRIu64, offset);
        }
        if (!visit_block(reader, sc_le32_get(head + 4))) {
            return sc_fail(why, SC_CORRUPT, "it makes no sense at offset %" PRIu64, offset);
        }
        offset += sizeof head + size;
    }
    return SC_OK;
}

/* Reads the header and judges whether the hint is that of the data file. */
static enum sc_status read_header(struct reader *reader, uint64_t number, uint64_t size, char *why)
{
    uint8_t header[HEADER_SIZE];
    struct stat stat;
    ssize_t got = sc_io_read(reader->fd, header, sizeof header, 0);
    if (got < 0 || fstat(reader->fd, &stat) != 0) {
        return unreadable("read", why);
    }
    if (got < (ssize_t)sizeof header || memcmp(header, MAGIC, 8) != 0 ||
        sc_le64_get(header + CHECKED_SIZE) != XXH3_64bits(header, CHECKED_SIZE)) {
        return sc_fail(why, SC_CORRUPT, "its header is damaged");
    }
    if (sc_le32_get(header + 8) != FORMAT) {
        return sc_fail(why, SC_CORRUPT, "it is of format version %" PRIu32,
                       sc_le32_get(header + 8));
    }
    if (sc_le64_get(header + 16) != number || sc_le64_get(header + 24) != reader->salt) {
        return sc_fail(why, SC_CORRUPT, "it belongs to another data file");
    }
    reader->covered = sc_le64_get(header + 32);
    reader->end = sc_le64_get(header + 72);
    if (reader->covered > size) {
        return sc_fail(why, SC_CORRUPT, "it tells of more than the data file has");
    }
    return reader->end == (uint64_t)stat.st_size ? SC_OK
                                                 : sc_fail(why, SC_CORRUPT, "it is cut off");
}

enum sc_status sc_hint_load(const struct sc_files *files, uint64_t number, uint64_t salt,
                            uint64_t size, sc_hint_visit_fn *visit, void *arg, uint64_t *covered,
                            char *why)
{
    char name[SC_FILES_NAME_SIZE];
    sc_files_hint_name(name, number);
    int fd = sc_io_open(files->dir_fd, name, O_RDONLY);
    if (fd < 0) {
        return errno == ENOENT ? sc_fail(why, SC_NOTFOUND, "there is none")
                               : unreadable("opened", why);
    }
    struct reader reader = {.fd = fd, .salt = salt, .visit = visit, .arg = arg};
    enum sc_status status = read_header(&reader, number, size, why);
    if (status == SC_OK) {
        status = read_blocks(&reader, why);
    }
    if (status == SC_OK) {
        *covered = reader.covered;
    }
    sc_buf_fini(&reader.block);
    (void)close(fd);
    return status;
}

struct telling {
    uint64_t next, to; /* it tells of all records up to `next` */
};

static void tell_entry(void *arg, const struct sc_hint_entry *entry)
{
    struct telling *telling = arg;
    if (entry->offset == telling->next && entry->offset < telling->to) {
        telling->next += entry->size;
    }
}

bool sc_hint_tells(const struct sc_files *files, uint64_t number, uint64_t salt, uint64_t size,
                   uint64_t from, uint64_t to)
{
    struct telling telling = {.next = from, .to = to};
    uint64_t covered;
    return sc_hint_load(files, number, salt, size, tell_entry, &telling, &covered, NULL) == SC_OK &&
           telling.next == to;
}

/* ---- Building ---- */

struct builder {
    const struct sc_files *files;
    int data_fd;
    int hint_fd;
    uint64_t number, salt;
    uint64_t covered;
    struct sc_buf block; /* head and entries */
    uint32_t block_count;
    uint64_t end; /* of what was written */
    uint64_t entries, deletions;
    uint64_t version_min, version_max;
    char name[SC_FILES_NAME_SIZE]; /* of the data file */
    char temporary[SC_FILES_NAME_SIZE];
};

static enum sc_status write_block(struct builder *builder, char *why)
{
    if (builder->block_count == 0) {
        return SC_OK;
    }
    uint8_t *head = builder->block.data;
    size_t size = builder->block.size - BLOCK_HEAD_SIZE;
    sc_le32_put(head, (uint32_t)size);
    sc_le32_put(head + 4, builder->block_count);
    sc_le64_put(head + 8,
                XXH3_64bits_withSeed(head + BLOCK_HEAD_SIZE, size, builder->salt ^ builder->end));
    if (sc_io_write(builder->hint_fd, head, builder->block.size, builder->end) != 0) {
        return sc_files_fail(builder->files, "write", builder->temporary, why);
    }
    builder->end += builder->block.size;
    builder->block.size = BLOCK_HEAD_SIZE;
    builder->block_count = 0;
    return SC_OK;
}

static enum sc_status add_entry(struct builder *builder, const struct sc_record *record,
                                uint64_t offset, char *why)
{
    size_t size = ENTRY_SIZE + record->key.size;
    if (builder->block.size + size > BLOCK_HEAD_SIZE + BLOCK_SIZE) {
        enum sc_status status = write_block(builder, why);
        if (status != SC_OK) {
            return status;
        }
    }
    uint8_t *at = sc_buf_reserve(&builder->block, size);
    sc_le64_put(at, record->version);
    sc_le64_put(at + 8, record->expires_ms);
    sc_le32_put(at + 16, (uint32_t)(offset / SC_RECORD_UNIT));
    sc_le32_put(at + 20, (uint32_t)record->value.size);
    sc_le16_put(at + 24, (uint16_t)record->key.size);
    at[26] = (uint8_t)record->kind;
    at[27] = 0;
    memcpy(at + ENTRY_SIZE, record->key.data, record->key.size);
    builder->block.size += size;
    builder->block_count++;
    builder->entries++;
    builder->deletions += record->kind != SC_RECORD_PUT ? 1 : 0;
    if (record->version < builder->version_min) {
        builder->version_min = record->version;
    }
    if (record->version > builder->version_max) {
        builder->version_max = record->version;
    }
    return SC_OK;
}

static enum sc_status add_entries(struct builder *builder, const struct sc_manifest_void *voids,
                                  size_t void_count, char *why)
{
    struct sc_walk walk;
    struct sc_walk_item item;
    enum sc_status status = SC_OK;
    sc_walk_init(&walk, builder->data_fd, builder->salt, SC_SEGMENT_HEADER_SIZE, builder->covered,
                 voids, void_count);
    while (status == SC_OK && sc_walk_next(&walk, &item)) {
        if (item.kind == SC_WALK_DAMAGE) {
            status =
                sc_fail(why, SC_CORRUPT, "%s in %s gets no hint: it is damaged at offset %" PRIu64,
                        builder->name, builder->files->path, item.offset);
        } else {
            status = add_entry(builder, &item.record, item.offset, why);
        }
    }
    if (status == SC_OK && walk.status != SC_OK) {
        errno = walk.error;
        status = sc_files_fail(builder->files, "read", builder->name, why);
    }
    sc_walk_fini(&walk);
    return status == SC_OK ? write_block(builder, why) : status;
}

static enum sc_status write_header(struct builder *builder, char *why)
{
    uint8_t header[HEADER_SIZE] = {0};
    memcpy(header, MAGIC, 8);
    sc_le32_put(header + 8, FORMAT);
    sc_le64_put(header + 16, builder->number);
    sc_le64_put(header + 24, builder->salt);
    sc_le64_put(header + 32, builder->covered);
    sc_le64_put(header + 40, builder->entries);
    sc_le64_put(header + 48, builder->deletions);
    sc_le64_put(header + 56, builder->version_min);
    sc_le64_put(header + 64, builder->version_max);
    sc_le64_put(header + 72, builder->end);
    sc_le64_put(header + CHECKED_SIZE, XXH3_64bits(header, CHECKED_SIZE));
    if (sc_io_write(builder->hint_fd, header, sizeof header, 0) != 0) {
        return sc_files_fail(builder->files, "write", builder->temporary, why);
    }
    return sc_io_fsync(builder->hint_fd) == 0
               ? SC_OK
               : sc_files_fail(builder->files, "sync", builder->temporary, why);
}

static enum sc_status open_both(struct builder *builder, char *why)
{
    struct stat stat;
    builder->data_fd = sc_io_open(builder->files->dir_fd, builder->name, O_RDONLY);
    if (builder->data_fd < 0 || fstat(builder->data_fd, &stat) != 0) {
        return sc_files_fail(builder->files, "open", builder->name, why);
    }
    builder->covered = (uint64_t)stat.st_size;
    /* A hint must not outlive records that it tells of. */
    if (sc_io_fdatasync(builder->data_fd) != 0) {
        return sc_files_fail(builder->files, "sync", builder->name, why);
    }
    builder->hint_fd =
        sc_io_open(builder->files->dir_fd, builder->temporary, O_WRONLY | O_CREAT | O_TRUNC);
    return builder->hint_fd >= 0 ? SC_OK
                                 : sc_files_fail(builder->files, "create", builder->temporary, why);
}

enum sc_status sc_hint_build(const struct sc_files *files, uint64_t number, uint64_t salt,
                             const struct sc_manifest_void *voids, size_t void_count, char *why)
{
    struct builder builder = {
        .files = files,
        .data_fd = -1,
        .hint_fd = -1,
        .number = number,
        .salt = salt,
        .end = HEADER_SIZE,
        .version_min = UINT64_MAX,
    };
    char name[SC_FILES_NAME_SIZE];
    sc_files_hint_name(name, number);
    sc_files_data_name(builder.name, number);
    sc_files_temporary_name(builder.temporary, name);
    (void)sc_buf_reserve(&builder.block, BLOCK_HEAD_SIZE + BLOCK_SIZE);
    builder.block.size = BLOCK_HEAD_SIZE;
    enum sc_status status = open_both(&builder, why);
    if (status == SC_OK) {
        status = add_entries(&builder, voids, void_count, why);
    }
    if (status == SC_OK) {
        status = write_header(&builder, why);
    }
    if (status == SC_OK && sc_io_rename(files->dir_fd, builder.temporary, name) != 0) {
        status = sc_files_fail(files, "rename", builder.temporary, why);
    }
    if (status != SC_OK && builder.hint_fd >= 0) {
        (void)sc_io_unlink(files->dir_fd, builder.temporary); /* else the next opening removes it */
    }
    if (builder.hint_fd >= 0) {
        (void)close(builder.hint_fd);
    }
    if (builder.data_fd >= 0) {
        (void)close(builder.data_fd);
    }
    sc_buf_fini(&builder.block);
    return status;
}
