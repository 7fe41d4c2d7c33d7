#include "shard/manifest_impl.h"

#include "common/bytes.h"
#include "shard/io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC "SCASKMAN"
#define FORMAT 1u
#define HEAD_SIZE 24u
#define FIXED_SIZE 64u
#define FILE_SIZE 32u
#define VOID_SIZE 24u
#define RANGE_SIZE 32u
#define DISCARDED_SIZE 8u
#define BODY_SIZE_MAX (UINT32_C(16) << 20) /* far above what any store can need */

/* ---- Encoding ---- */

static bool slots_equal(const struct sc_manifest_slot *a, const struct sc_manifest_slot *b)
{
    return a->state == b->state && a->epoch == b->epoch && a->fence_file == b->fence_file &&
           a->fence_offset == b->fence_offset;
}

static void put_range(struct sc_buf *out, uint32_t first, uint32_t last,
                      const struct sc_manifest_slot *slot)
{
    uint8_t *at = sc_buf_reserve(out, RANGE_SIZE);
    memset(at, 0, RANGE_SIZE);
    sc_le16_put(at, (uint16_t)first);
    sc_le16_put(at + 2, (uint16_t)last);
    at[4] = (uint8_t)slot->state;
    sc_le64_put(at + 8, slot->epoch);
    sc_le64_put(at + 16, slot->fence_file);
    sc_le64_put(at + 24, slot->fence_offset);
    out->size += RANGE_SIZE;
}

static uint32_t put_ranges(struct sc_buf *out, const struct sc_manifest_slot *slots)
{
    static const struct sc_manifest_slot none;
    uint32_t count = 0;
    for (uint32_t first = 0; first < SC_SLOT_COUNT;) {
        uint32_t end = first + 1;
        while (end < SC_SLOT_COUNT && slots_equal(&slots[first], &slots[end])) {
            end++;
        }
        if (!slots_equal(&slots[first], &none)) {
            put_range(out, first, end - 1, &slots[first]);
            count++;
        }
        first = end;
    }
    return count;
}

static void put_lists(struct sc_buf *out, const struct sc_manifest *manifest)
{
    for (size_t i = 0; i < manifest->file_count; i++) {
        uint8_t *at = sc_buf_reserve(out, FILE_SIZE);
        sc_le64_put(at, manifest->files[i].number);
        sc_le64_put(at + 8, manifest->files[i].salt);
        sc_le64_put(at + 16, manifest->files[i].settled_size);
        sc_le64_put(at + 24, manifest->files[i].clean);
        out->size += FILE_SIZE;
    }
    for (size_t i = 0; i < manifest->void_count; i++) {
        uint8_t *at = sc_buf_reserve(out, VOID_SIZE);
        sc_le64_put(at, manifest->voids[i].file);
        sc_le64_put(at + 8, manifest->voids[i].offset);
        sc_le64_put(at + 16, manifest->voids[i].size);
        out->size += VOID_SIZE;
    }
}

static void encode(struct sc_buf *out, const struct sc_manifest *manifest)
{
    memset(sc_buf_reserve(out, HEAD_SIZE + FIXED_SIZE), 0, HEAD_SIZE + FIXED_SIZE);
    out->size += HEAD_SIZE + FIXED_SIZE;
    put_lists(out, manifest);
    uint32_t ranges = put_ranges(out, manifest->slots);
    for (size_t i = 0; i < manifest->discarded_count; i++) {
        sc_le64_put(sc_buf_reserve(out, DISCARDED_SIZE), manifest->discarded[i]);
        out->size += DISCARDED_SIZE;
    }

    uint8_t *body = out->data + HEAD_SIZE;
    memcpy(body, manifest->identity.cluster, 16);
    sc_le32_put(body + 16, manifest->identity.shard_id);
    sc_le32_put(body + 20, manifest->identity.adopted ? 1 : 0);
    sc_le64_put(body + 24, manifest->identity.term);
    sc_le64_put(body + 32, manifest->identity.epoch);
    sc_le64_put(body + 40, manifest->next_number);
    sc_le32_put(body + 48, (uint32_t)manifest->file_count);
    sc_le32_put(body + 52, (uint32_t)manifest->void_count);
    sc_le32_put(body + 56, ranges);
    sc_le32_put(body + 60, (uint32_t)manifest->discarded_count);

    uint32_t body_size = (uint32_t)(out->size - HEAD_SIZE);
    memcpy(out->data, MAGIC, 8);
    sc_le32_put(out->data + 8, FORMAT);
    sc_le32_put(out->data + 12, body_size);
    sc_le64_put(out->data + 16, XXH3_64bits_withSeed(body, body_size, body_size));
}

enum sc_status sc_manifest_save_locked(struct sc_manifest *manifest, char *why)
{
    struct sc_buf out = {0};
    encode(&out, manifest);
    size_t size = out.size;
    (void)sc_buf_reserve(&out, size);
    memcpy(out.data + size, out.data, size);
    enum sc_status status =
        sc_files_replace(manifest->dir, SC_FILES_MANIFEST, out.data, 2 * size, why);
    sc_buf_fini(&out);
    manifest->dirty = manifest->dirty && status != SC_OK;
    return status;
}

enum sc_status sc_manifest_flush(struct sc_manifest *manifest, char *why)
{
    sc_manifest_lock(manifest);
    enum sc_status status = manifest->dirty ? sc_manifest_save_locked(manifest, why) : SC_OK;
    sc_manifest_unlock(manifest);
    return status == SC_OK ? SC_OK : SC_IO;
}

/* ---- Decoding ---- */

enum copy { COPY_OK, COPY_DAMAGED, COPY_NEWER };

/* Judges the copy at the start of `bytes` and finds its body. */
static enum copy check_copy(struct sc_slice bytes, struct sc_slice *body)
{
    const uint8_t *head = bytes.data;
    if (bytes.size < HEAD_SIZE + FIXED_SIZE || memcmp(head, MAGIC, 8) != 0) {
        return COPY_DAMAGED;
    }
    uint32_t size = sc_le32_get(head + 12);
    if (size < FIXED_SIZE || size > BODY_SIZE_MAX || size > bytes.size - HEAD_SIZE ||
        sc_le64_get(head + 16) != XXH3_64bits_withSeed(head + HEAD_SIZE, size, size)) {
        return COPY_DAMAGED;
    }
    *body = sc_slice(head + HEAD_SIZE, size);
    /* The format version is not under the checksum: a flipped bit there shows in one copy only, and
     * the caller believes the other. */
    return sc_le32_get(head + 8) == FORMAT ? COPY_OK : COPY_NEWER;
}

static bool get_files(struct sc_manifest *manifest, const uint8_t *at, uint32_t count)
{
    manifest->files = sc_calloc(count + 1, sizeof *manifest->files);
    manifest->file_count = count;
    for (uint32_t i = 0; i < count; i++, at += FILE_SIZE) {
        struct sc_manifest_file *file = &manifest->files[i];
        *file = (struct sc_manifest_file){sc_le64_get(at), sc_le64_get(at + 8),
                                          sc_le64_get(at + 16), sc_le64_get(at + 24)};
        if (file->number == 0 || file->number >= manifest->next_number ||
            (i > 0 && file->number <= file[-1].number)) {
            return false;
        }
    }
    return true;
}

static void get_voids(struct sc_manifest *manifest, const uint8_t *at, uint32_t count)
{
    manifest->voids = sc_calloc(count + 1, sizeof *manifest->voids);
    manifest->void_count = count;
    for (uint32_t i = 0; i < count; i++, at += VOID_SIZE) {
        manifest->voids[i] =
            (struct sc_manifest_void){sc_le64_get(at), sc_le64_get(at + 8), sc_le64_get(at + 16)};
    }
}

static bool get_ranges(struct sc_manifest *manifest, const uint8_t *at, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++, at += RANGE_SIZE) {
        uint32_t first = sc_le16_get(at);
        uint32_t last = sc_le16_get(at + 2);
        if (first > last || last >= SC_SLOT_COUNT || at[4] > SC_MANIFEST_FENCED) {
            return false;
        }
        struct sc_manifest_slot slot = {(enum sc_manifest_slot_state)at[4], sc_le64_get(at + 8),
                                        sc_le64_get(at + 16), sc_le64_get(at + 24)};
        for (uint32_t s = first; s <= last; s++) {
            manifest->slots[s] = slot;
        }
    }
    return true;
}

static void get_discarded(struct sc_manifest *manifest, const uint8_t *at, uint32_t count)
{
    manifest->discarded = sc_calloc(count + 1, sizeof *manifest->discarded);
    manifest->discarded_count = count;
    for (uint32_t i = 0; i < count; i++, at += DISCARDED_SIZE) {
        manifest->discarded[i] = sc_le64_get(at);
    }
}

static bool decode(struct sc_manifest *manifest, struct sc_slice bytes)
{
    const uint8_t *body = bytes.data;
    assert(body != NULL && bytes.size >= FIXED_SIZE); /* the copy was found good */
    uint64_t files = sc_le32_get(body + 48);
    uint64_t voids = sc_le32_get(body + 52);
    uint64_t ranges = sc_le32_get(body + 56);
    uint64_t discarded = sc_le32_get(body + 60);
    if (FIXED_SIZE + files * FILE_SIZE + voids * VOID_SIZE + ranges * RANGE_SIZE +
            discarded * DISCARDED_SIZE !=
        bytes.size) {
        return false;
    }
    memcpy(manifest->identity.cluster, body, 16);
    manifest->identity.shard_id = sc_le32_get(body + 16);
    manifest->identity.adopted = sc_le32_get(body + 20) != 0;
    manifest->identity.term = sc_le64_get(body + 24);
    manifest->identity.epoch = sc_le64_get(body + 32);
    manifest->next_number = sc_le64_get(body + 40);
    const uint8_t *lists = body + FIXED_SIZE;
    if (!get_files(manifest, lists, (uint32_t)files)) {
        return false;
    }
    lists += files * FILE_SIZE;
    get_voids(manifest, lists, (uint32_t)voids);
    lists += voids * VOID_SIZE;
    get_discarded(manifest, lists + ranges * RANGE_SIZE, (uint32_t)discarded);
    return get_ranges(manifest, lists, (uint32_t)ranges);
}

/* Reads the whole file. */
static enum sc_status read_all(const struct sc_files *files, struct sc_buf *bytes, char *why)
{
    int fd = sc_io_open(files->dir_fd, SC_FILES_MANIFEST, O_RDONLY);
    if (fd < 0) {
        enum sc_status status = errno == ENOENT ? SC_NOTFOUND : SC_IO;
        sc_files_fail(files, "open", SC_FILES_MANIFEST, why);
        return status;
    }
    size_t limit = 2 * (size_t)(BODY_SIZE_MAX + HEAD_SIZE);
    ssize_t got = 1;
    while (got > 0 && bytes->size < limit) {
        uint8_t *to = sc_buf_reserve(bytes, 64 << 10);
        got = sc_io_read(fd, to, 64 << 10, bytes->size);
        bytes->size += got > 0 ? (size_t)got : 0;
    }
    enum sc_status status = got < 0 ? sc_files_fail(files, "read", SC_FILES_MANIFEST, why) : SC_OK;
    (void)close(fd);
    return status;
}

/* Finds the copy to go by. The second one begins in the middle: both are of one size. */
static enum copy choose_copy(struct sc_slice bytes, struct sc_slice *body, bool *damaged)
{
    size_t half = bytes.size / 2;
    const uint8_t *middle = (const uint8_t *)bytes.data + half;
    struct sc_slice second_body;
    enum copy first = check_copy(bytes, body);
    enum copy second = check_copy(sc_slice(middle, bytes.size - half), &second_body);
    *damaged = first != second;
    if (first != COPY_OK && second == COPY_OK) {
        *body = second_body;
        return COPY_OK;
    }
    return first == COPY_DAMAGED ? second : first;
}

enum sc_status sc_manifest_check(const struct sc_manifest *manifest, unsigned *damaged, char *why)
{
    struct sc_buf bytes = {0};
    struct sc_slice body;
    *damaged = 2;
    enum sc_status status = read_all(manifest->dir, &bytes, why);
    if (status == SC_OK) {
        size_t half = bytes.size / 2;
        enum copy first = check_copy(sc_slice(bytes.data, bytes.size), &body);
        enum copy second = check_copy(sc_slice(bytes.data + half, bytes.size - half), &body);
        *damaged = (first != COPY_OK ? 1u : 0u) + (second != COPY_OK ? 1u : 0u);
    }
    sc_buf_fini(&bytes);
    return status == SC_NOTFOUND ? SC_OK : status;
}

enum sc_status sc_manifest_load(const struct sc_files *files, struct sc_manifest **manifest,
                                bool *damaged, char *why)
{
    struct sc_buf bytes = {0};
    enum sc_status status = read_all(files, &bytes, why);
    if (status != SC_OK) {
        sc_buf_fini(&bytes);
        return status;
    }
    struct sc_slice body = {0};
    struct sc_manifest *loaded = sc_manifest_alloc(files);
    enum copy copy = choose_copy(sc_buf_slice(&bytes), &body, damaged);
    if (copy == COPY_NEWER) {
        status = sc_fail(why, SC_CORRUPT,
                         "%s/" SC_FILES_MANIFEST " is of a format this program "
                         "does not know: a newer shardcask has used this directory",
                         files->path);
    } else if (copy == COPY_DAMAGED || !decode(loaded, body)) {
        status = sc_fail(why, SC_CORRUPT,
                         "%s/" SC_FILES_MANIFEST " is damaged beyond reading: "
                         "restore it from a backup",
                         files->path);
    }
    sc_buf_fini(&bytes);
    if (status != SC_OK) {
        sc_manifest_free(loaded);
        return status;
    }
    *manifest = loaded;
    return SC_OK;
}

enum sc_status sc_manifest_create(const struct sc_files *files, struct sc_manifest **manifest,
                                  char *why)
{
    struct sc_manifest *created = sc_manifest_alloc(files);
    enum sc_status status = sc_manifest_save_locked(created, why);
    if (status != SC_OK) {
        sc_manifest_free(created);
        return SC_IO;
    }
    *manifest = created;
    return SC_OK;
}
