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
#define FORMAT 2u
#define FORMAT_FIRST 1u
#define HEAD_SIZE 24u
#define FIXED_SIZE 104u
#define FIXED_SIZE_FIRST 64u /* in format version 1 */
#define FILE_SIZE 32u
#define VOID_SIZE 24u
#define RANGE_SIZE 32u
#define DISCARDED_SIZE 8u
#define BODY_SIZE_MAX (UINT32_C(16) << 20) /* far above what any store can need */

static uint64_t checksum(const uint8_t *body, uint32_t size, uint32_t format)
{
    uint64_t seed = format == FORMAT_FIRST ? size : size + ((uint64_t)format << 32);
    return XXH3_64bits_withSeed(body, size, seed);
}

/* ---- Encoding ---- */

static bool slots_equal(const struct sc_manifest_slot *a, const struct sc_manifest_slot *b)
{
    return a->state == b->state && a->epoch == b->epoch && a->fence.file == b->fence.file &&
           a->fence.offset == b->fence.offset;
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
    sc_le64_put(at + 16, slot->fence.file);
    sc_le64_put(at + 24, slot->fence.offset);
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

/* The fixed part of the body but for the counts of the lists. */
static void put_state(uint8_t *body, const struct sc_manifest_state *state)
{
    memcpy(body, state->identity.cluster, 16);
    sc_le32_put(body + 16, state->identity.shard_id);
    sc_le32_put(body + 20, state->identity.adopted ? 1 : 0);
    sc_le64_put(body + 24, state->identity.term);
    sc_le64_put(body + 32, state->identity.epoch);
    sc_le64_put(body + 64, state->floor);
    sc_le64_put(body + 72, state->import_move);
    body[80] = !state->importing ? 0 : state->ready ? 2 : 1;
    body[81] = state->exporting ? 1 : 0;
    sc_le16_put(body + 82, (uint16_t)state->import_mark.size);
    sc_le16_put(body + 84, (uint16_t)state->export_mark.size);
    sc_le32_put(body + 88, (uint32_t)state->import_cursor.size);
    sc_le64_put(body + 96, state->export_move);
}

static void encode(struct sc_buf *out, const struct sc_manifest *manifest)
{
    const struct sc_manifest_state *state = manifest->state;
    memset(sc_buf_reserve(out, HEAD_SIZE + FIXED_SIZE), 0, HEAD_SIZE + FIXED_SIZE);
    out->size += HEAD_SIZE + FIXED_SIZE;
    put_lists(out, manifest);
    uint32_t ranges = put_ranges(out, state->slots);
    for (size_t i = 0; i < manifest->discarded_count; i++) {
        sc_le64_put(sc_buf_reserve(out, DISCARDED_SIZE), manifest->discarded[i]);
        out->size += DISCARDED_SIZE;
    }
    sc_buf_append_slice(out, sc_buf_slice(&state->import_mark));
    sc_buf_append_slice(out, sc_buf_slice(&state->export_mark));
    sc_buf_append_slice(out, sc_buf_slice(&state->import_cursor));

    uint8_t *body = out->data + HEAD_SIZE;
    put_state(body, state);
    sc_le64_put(body + 40, manifest->next_number);
    sc_le32_put(body + 48, (uint32_t)manifest->file_count);
    sc_le32_put(body + 52, (uint32_t)manifest->void_count);
    sc_le32_put(body + 56, ranges);
    sc_le32_put(body + 60, (uint32_t)manifest->discarded_count);

    uint32_t body_size = (uint32_t)(out->size - HEAD_SIZE);
    memcpy(out->data, MAGIC, 8);
    sc_le32_put(out->data + 8, FORMAT);
    sc_le32_put(out->data + 12, body_size);
    sc_le64_put(out->data + 16, checksum(body, body_size, FORMAT));
}

enum sc_status sc_manifest_save_locked(struct sc_manifest *manifest, char *why)
{
    struct sc_buf out = {0};
    encode(&out, manifest);
    size_t size = out.size;
    (void)sc_buf_reserve(&out, size);
    memcpy(out.data + size, out.data, size);
    enum sc_status status = SC_OK;
    if (!manifest->lone) {
        /* The copy comes first, so it is not behind: at worst it has what was just about to hold.
         * One sync of the directory makes both renames durable; a journal keeps their order. */
        status = sc_files_put(manifest->dir, SC_FILES_COPY, out.data, 2 * size, why);
    }
    if (status == SC_OK) {
        status = sc_files_replace(manifest->dir, SC_FILES_MANIFEST, out.data, 2 * size, why);
    }
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

enum sc_status sc_manifest_rewrite(struct sc_manifest *manifest, char *why)
{
    sc_manifest_lock(manifest);
    enum sc_status status = sc_manifest_save_locked(manifest, why);
    sc_manifest_unlock(manifest);
    return status == SC_OK ? SC_OK : SC_IO;
}

/* ---- Decoding ---- */

enum copy { COPY_OK, COPY_DAMAGED, COPY_NEWER };

/* A copy of the manifest. */
struct body {
    struct sc_slice bytes;
    uint32_t format;
};

/* Judges the copy at the start of `bytes` and finds its body. */
static enum copy check_copy(struct sc_slice bytes, struct body *body)
{
    const uint8_t *head = bytes.data;
    if (bytes.size < HEAD_SIZE + FIXED_SIZE_FIRST || memcmp(head, MAGIC, 8) != 0) {
        return COPY_DAMAGED;
    }
    uint32_t format = sc_le32_get(head + 8);
    uint32_t size = sc_le32_get(head + 12);
    if (size < FIXED_SIZE_FIRST || size > BODY_SIZE_MAX || size > bytes.size - HEAD_SIZE) {
        return COPY_DAMAGED;
    }
    *body = (struct body){sc_slice(head + HEAD_SIZE, size), format};
    /* What a newer format has under its checksum nobody knows. That a flipped bit makes ours look
     * like one shows in one copy only, and the caller believes the other. */
    if (format > FORMAT) {
        return COPY_NEWER;
    }
    bool good = format >= FORMAT_FIRST && (format == FORMAT_FIRST || size >= FIXED_SIZE) &&
                sc_le64_get(head + 16) == checksum(head + HEAD_SIZE, size, format);
    return good ? COPY_OK : COPY_DAMAGED;
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
    struct sc_manifest_slot *slots = manifest->state->slots;
    for (uint32_t i = 0; i < count; i++, at += RANGE_SIZE) {
        uint32_t first = sc_le16_get(at);
        uint32_t last = sc_le16_get(at + 2);
        if (first > last || last >= SC_SLOT_COUNT || at[4] > SC_MANIFEST_LEAVING) {
            return false;
        }
        struct sc_manifest_slot slot = {(enum sc_manifest_slot_state)at[4],
                                        sc_le64_get(at + 8),
                                        {sc_le64_get(at + 16), sc_le64_get(at + 24)}};
        for (uint32_t s = first; s <= last; s++) {
            slots[s] = slot;
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

static void get_identity(struct sc_manifest_identity *identity, const uint8_t *body)
{
    memcpy(identity->cluster, body, 16);
    identity->shard_id = sc_le32_get(body + 16);
    identity->adopted = sc_le32_get(body + 20) != 0;
    identity->term = sc_le64_get(body + 24);
    identity->epoch = sc_le64_get(body + 32);
}

/* Sizes of what stands behind the lists. */
struct tail {
    uint32_t import_mark, export_mark, import_cursor;
};

/* What format version 1 has not. */
static bool get_moves(struct sc_manifest_state *state, const uint8_t *body, struct tail *tail)
{
    state->floor = sc_le64_get(body + 64);
    state->import_move = sc_le64_get(body + 72);
    state->importing = body[80] != 0;
    state->ready = body[80] == 2;
    state->exporting = body[81] != 0;
    tail->import_mark = sc_le16_get(body + 82);
    tail->export_mark = sc_le16_get(body + 84);
    tail->import_cursor = sc_le32_get(body + 88);
    state->export_move = sc_le64_get(body + 96);
    return body[80] <= 2 && body[81] <= 1 && tail->import_mark <= SC_MANIFEST_MARK_MAX &&
           tail->export_mark <= SC_MANIFEST_MARK_MAX &&
           tail->import_cursor <= SC_MANIFEST_CURSOR_MAX;
}

static bool decode(struct sc_manifest *manifest, const struct body *from)
{
    const uint8_t *body = from->bytes.data;
    struct sc_manifest_state *state = manifest->state;
    uint32_t fixed = from->format == FORMAT_FIRST ? FIXED_SIZE_FIRST : FIXED_SIZE;
    struct tail tail = {0};
    assert(body != NULL && from->bytes.size >= fixed); /* the copy was found good */
    if (fixed == FIXED_SIZE && !get_moves(state, body, &tail)) {
        return false;
    }
    uint64_t files = sc_le32_get(body + 48);
    uint64_t voids = sc_le32_get(body + 52);
    uint64_t ranges = sc_le32_get(body + 56);
    uint64_t discarded = sc_le32_get(body + 60);
    if (fixed + files * FILE_SIZE + voids * VOID_SIZE + ranges * RANGE_SIZE +
            discarded * DISCARDED_SIZE + tail.import_mark + tail.export_mark + tail.import_cursor !=
        from->bytes.size) {
        return false;
    }
    get_identity(&state->identity, body);
    manifest->next_number = sc_le64_get(body + 40);
    const uint8_t *lists = body + fixed;
    if (!get_files(manifest, lists, (uint32_t)files)) {
        return false;
    }
    lists += files * FILE_SIZE;
    get_voids(manifest, lists, (uint32_t)voids);
    lists += voids * VOID_SIZE;
    const uint8_t *behind = lists + ranges * RANGE_SIZE;
    get_discarded(manifest, behind, (uint32_t)discarded);
    behind += discarded * DISCARDED_SIZE;
    sc_buf_append(&state->import_mark, behind, tail.import_mark);
    behind += tail.import_mark;
    sc_buf_append(&state->export_mark, behind, tail.export_mark);
    behind += tail.export_mark;
    sc_buf_append(&state->import_cursor, behind, tail.import_cursor);
    return get_ranges(manifest, lists, (uint32_t)ranges);
}

enum sc_status sc_manifest_copy(struct sc_manifest *manifest, const struct sc_files *files,
                                struct sc_manifest **copy, char *why)
{
    struct sc_buf bytes = {0};
    struct body body;
    sc_manifest_lock(manifest);
    encode(&bytes, manifest);
    sc_manifest_unlock(manifest);
    struct sc_manifest *made = sc_manifest_alloc(files);
    made->lone = true;
    bool good = check_copy(sc_buf_slice(&bytes), &body) == COPY_OK && decode(made, &body);
    sc_buf_fini(&bytes);
    if (!good) {
        sc_manifest_free(made);
        return sc_fail(why, SC_INTERNAL, "the manifest of %s cannot be copied",
                       manifest->dir->path);
    }
    *copy = made;
    return SC_OK;
}

/* Reads the whole file. */
static enum sc_status read_all(const struct sc_files *files, const char *name, struct sc_buf *bytes,
                               char *why)
{
    int fd = sc_io_open(files->dir_fd, name, O_RDONLY);
    if (fd < 0) {
        enum sc_status status = errno == ENOENT ? SC_NOTFOUND : SC_IO;
        sc_files_fail(files, "open", name, why);
        return status;
    }
    size_t limit = 2 * (size_t)(BODY_SIZE_MAX + HEAD_SIZE);
    ssize_t got = 1;
    while (got > 0 && bytes->size < limit) {
        uint8_t *to = sc_buf_reserve(bytes, 64 << 10);
        got = sc_io_read(fd, to, 64 << 10, bytes->size);
        bytes->size += got > 0 ? (size_t)got : 0;
    }
    enum sc_status status = got < 0 ? sc_files_fail(files, "read", name, why) : SC_OK;
    (void)close(fd);
    return status;
}

/* Finds the copy to go by. The second one begins in the middle: both are of one size. */
static enum copy choose_copy(struct sc_slice bytes, struct body *body, bool *damaged)
{
    size_t half = bytes.size / 2;
    const uint8_t *middle = (const uint8_t *)bytes.data + half;
    struct body second_body;
    enum copy first = check_copy(bytes, body);
    enum copy second = check_copy(sc_slice(middle, bytes.size - half), &second_body);
    *damaged = first != second;
    if (first != COPY_OK && second == COPY_OK) {
        *body = second_body;
        return COPY_OK;
    }
    return first == COPY_DAMAGED ? second : first;
}

/* How many of the two copies in a file are damaged. */
static enum sc_status count_damaged(const struct sc_files *files, const char *name,
                                    unsigned *damaged, char *why)
{
    struct sc_buf bytes = {0};
    struct body body;
    enum sc_status status = read_all(files, name, &bytes, why);
    if (status == SC_OK) {
        size_t half = bytes.size / 2;
        enum copy first = check_copy(sc_slice(bytes.data, bytes.size), &body);
        enum copy second = check_copy(sc_slice(bytes.data + half, bytes.size - half), &body);
        *damaged = (first != COPY_OK ? 1u : 0u) + (second != COPY_OK ? 1u : 0u);
    }
    sc_buf_fini(&bytes);
    return status;
}

enum sc_status sc_manifest_check(const struct sc_manifest *manifest, unsigned *damaged, char *why)
{
    unsigned own = 2;
    unsigned copy = 0; /* a store of an earlier version has none */
    enum sc_status status = count_damaged(manifest->dir, SC_FILES_MANIFEST, &own, why);
    if (status == SC_OK || status == SC_NOTFOUND) {
        status = count_damaged(manifest->dir, SC_FILES_COPY, &copy, why);
    }
    *damaged = own + copy;
    return status == SC_NOTFOUND ? SC_OK : status;
}

static enum sc_status load(const struct sc_files *files, const char *name,
                           struct sc_manifest **manifest, bool *damaged, bool *newer, char *why)
{
    struct sc_buf bytes = {0};
    *newer = false;
    enum sc_status status = read_all(files, name, &bytes, why);
    if (status != SC_OK) {
        sc_buf_fini(&bytes);
        return status;
    }
    struct body body = {0};
    struct sc_manifest *loaded = sc_manifest_alloc(files);
    enum copy copy = choose_copy(sc_buf_slice(&bytes), &body, damaged);
    if (copy == COPY_NEWER) {
        *newer = true;
        status = sc_fail(why, SC_CORRUPT,
                         "%s/%s is of a format this program does not know: a newer shardcask has "
                         "used this directory",
                         files->path, name);
    } else if (copy == COPY_DAMAGED || !decode(loaded, &body)) {
        status = sc_fail(why, SC_CORRUPT, "%s/%s is damaged beyond reading", files->path, name);
    }
    sc_buf_fini(&bytes);
    if (status != SC_OK) {
        sc_manifest_free(loaded);
        return status;
    }
    *manifest = loaded;
    return SC_OK;
}

enum sc_status sc_manifest_load_told(const struct sc_files *files, struct sc_manifest **manifest,
                                     bool *damaged, bool *newer, char *why)
{
    return load(files, SC_FILES_MANIFEST, manifest, damaged, newer, why);
}

enum sc_status sc_manifest_load_copy(const struct sc_files *files, struct sc_manifest **manifest,
                                     char *why)
{
    bool damaged;
    bool newer;
    return load(files, SC_FILES_COPY, manifest, &damaged, &newer, why);
}

enum sc_status sc_manifest_load(const struct sc_files *files, struct sc_manifest **manifest,
                                bool *damaged, char *why)
{
    char trouble[SC_WHY_SIZE];
    bool newer;
    enum sc_status status = load(files, SC_FILES_MANIFEST, manifest, damaged, &newer, trouble);
    if (status == SC_CORRUPT && !newer) {
        return sc_fail(why, SC_CORRUPT, "%.200s: shardcask-shard --repair may help, or a backup",
                       trouble);
    }
    return status == SC_OK ? SC_OK : sc_fail(why, status, "%s", trouble);
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
