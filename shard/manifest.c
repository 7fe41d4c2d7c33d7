#include "shard/manifest.h"

#include "common/bytes.h"
#include "shard/io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
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

struct sc_manifest {
    const struct sc_files *dir; /* kept */
    pthread_mutex_t mutex; /* guards what follows */
    struct sc_manifest_identity identity;
    uint64_t next_number;
    struct sc_manifest_file *files; /* in the order of their numbers */
    size_t file_count;
    struct sc_manifest_void *voids;
    size_t void_count;
    struct sc_manifest_slot *slots; /* SC_SLOT_COUNT of them */
    uint64_t *discarded; /* numbers */
    size_t discarded_count;
    bool dirty; /* something was noted that is not in the file yet */
};

static struct sc_manifest *manifest_alloc(const struct sc_files *files)
{
    struct sc_manifest *manifest = sc_calloc(1, sizeof *manifest);
    manifest->dir = files;
    (void)pthread_mutex_init(&manifest->mutex, NULL); /* cannot fail with default attributes */
    manifest->next_number = 1;
    manifest->slots = sc_calloc(SC_SLOT_COUNT, sizeof *manifest->slots);
    return manifest;
}

void sc_manifest_free(struct sc_manifest *manifest)
{
    if (manifest != NULL) {
        (void)pthread_mutex_destroy(&manifest->mutex);
        free(manifest->files);
        free(manifest->voids);
        free(manifest->slots);
        free(manifest->discarded);
        free(manifest);
    }
}

static void lock(struct sc_manifest *manifest)
{
    (void)pthread_mutex_lock(&manifest->mutex);
}

static void unlock(struct sc_manifest *manifest)
{
    (void)pthread_mutex_unlock(&manifest->mutex);
}

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

static enum sc_status save_locked(struct sc_manifest *manifest, char *why)
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
    lock(manifest);
    enum sc_status status = manifest->dirty ? save_locked(manifest, why) : SC_OK;
    unlock(manifest);
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
    struct sc_manifest *loaded = manifest_alloc(files);
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
    struct sc_manifest *created = manifest_alloc(files);
    enum sc_status status = save_locked(created, why);
    if (status != SC_OK) {
        sc_manifest_free(created);
        return SC_IO;
    }
    *manifest = created;
    return SC_OK;
}

/* ---- Identity and slots ---- */

void sc_manifest_identity(struct sc_manifest *manifest, struct sc_manifest_identity *identity)
{
    lock(manifest);
    *identity = manifest->identity;
    unlock(manifest);
}

static enum sc_status adopt_locked(struct sc_manifest *manifest, const uint8_t cluster[16],
                                   uint32_t shard_id, char *why)
{
    const struct sc_manifest_identity before = manifest->identity;
    if (before.adopted) {
        if (memcmp(before.cluster, cluster, 16) == 0 && before.shard_id == shard_id) {
            return SC_OK;
        }
        return sc_fail(
            why, SC_DENIED, "%s belongs to shard %" PRIu32 "%s: it cannot become shard %" PRIu32,
            manifest->dir->path, before.shard_id,
            memcmp(before.cluster, cluster, 16) == 0 ? "" : " of another cluster", shard_id);
    }
    if (manifest->file_count > 0) {
        return sc_fail(why, SC_DENIED, "%s holds data that belongs to no cluster",
                       manifest->dir->path);
    }
    memcpy(manifest->identity.cluster, cluster, 16);
    manifest->identity.shard_id = shard_id;
    manifest->identity.adopted = true;
    enum sc_status status = save_locked(manifest, why);
    if (status != SC_OK) {
        manifest->identity = before;
        return SC_IO;
    }
    return SC_OK;
}

enum sc_status sc_manifest_adopt(struct sc_manifest *manifest, const uint8_t cluster[16],
                                 uint32_t shard_id, char *why)
{
    lock(manifest);
    enum sc_status status = adopt_locked(manifest, cluster, shard_id, why);
    unlock(manifest);
    return status;
}

/* Sets the states that a grant means; true when that changes anything. */
static bool apply_grant(struct sc_manifest_slot *slots, uint64_t epoch,
                        const uint8_t owned[SC_SLOT_COUNT / 8])
{
    bool changed = false;
    for (uint32_t s = 0; s < SC_SLOT_COUNT; s++) {
        bool owns = (owned[s / 8] >> (s % 8) & 1) != 0;
        bool owned_before = slots[s].state == SC_MANIFEST_OWNED;
        if (owns && !owned_before) {
            slots[s].state = SC_MANIFEST_OWNED;
            slots[s].epoch = epoch;
            changed = true;
        } else if (!owns && owned_before) {
            slots[s].state = SC_MANIFEST_NONE;
            slots[s].epoch = epoch;
            changed = true;
        }
    }
    return changed;
}

static enum sc_status grant_locked(struct sc_manifest *manifest, uint64_t term, uint64_t epoch,
                                   const uint8_t owned[SC_SLOT_COUNT / 8], char *why)
{
    const struct sc_manifest_identity before = manifest->identity;
    if (term < before.term) {
        return sc_fail(why, SC_DENIED,
                       "the coordinator's term %" PRIu64 " is over: %" PRIu64 " has begun", term,
                       before.term);
    }
    size_t size = SC_SLOT_COUNT * sizeof *manifest->slots;
    struct sc_manifest_slot *slots_before = sc_alloc(size);
    memcpy(slots_before, manifest->slots, size);
    bool changed = apply_grant(manifest->slots, epoch, owned);
    manifest->identity.term = term;
    manifest->identity.epoch = epoch;
    enum sc_status status = SC_OK;
    if (changed || term != before.term || epoch != before.epoch) {
        status = save_locked(manifest, why);
    }
    if (status != SC_OK) {
        manifest->identity = before;
        memcpy(manifest->slots, slots_before, size);
    }
    free(slots_before);
    return status == SC_OK ? SC_OK : SC_IO;
}

enum sc_status sc_manifest_grant(struct sc_manifest *manifest, uint64_t term, uint64_t epoch,
                                 const uint8_t owned[SC_SLOT_COUNT / 8], char *why)
{
    lock(manifest);
    enum sc_status status = grant_locked(manifest, term, epoch, owned, why);
    unlock(manifest);
    return status;
}

void sc_manifest_slot(struct sc_manifest *manifest, uint32_t slot, struct sc_manifest_slot *state)
{
    assert(slot < SC_SLOT_COUNT);
    lock(manifest);
    *state = manifest->slots[slot];
    unlock(manifest);
}

bool sc_manifest_has_fences(struct sc_manifest *manifest)
{
    bool any = false;
    lock(manifest);
    for (uint32_t s = 0; s < SC_SLOT_COUNT && !any; s++) {
        any = manifest->slots[s].fence_file != 0;
    }
    unlock(manifest);
    return any;
}

/* ---- Files ---- */

size_t sc_manifest_files(struct sc_manifest *manifest)
{
    lock(manifest);
    size_t count = manifest->file_count;
    unlock(manifest);
    return count;
}

struct sc_manifest_file sc_manifest_file(struct sc_manifest *manifest, size_t index)
{
    lock(manifest);
    assert(index < manifest->file_count);
    struct sc_manifest_file file = manifest->files[index];
    unlock(manifest);
    return file;
}

bool sc_manifest_find_file(struct sc_manifest *manifest, uint64_t number,
                           struct sc_manifest_file *file)
{
    bool found = false;
    lock(manifest);
    for (size_t i = 0; i < manifest->file_count && !found; i++) {
        if (manifest->files[i].number == number) {
            *file = manifest->files[i];
            found = true;
        }
    }
    unlock(manifest);
    return found;
}

static int compare_voids(const void *a, const void *b)
{
    const struct sc_manifest_void *x = a;
    const struct sc_manifest_void *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

struct sc_manifest_void *sc_manifest_voids(struct sc_manifest *manifest, uint64_t number,
                                           size_t *count)
{
    lock(manifest);
    struct sc_manifest_void *voids = sc_calloc(manifest->void_count + 1, sizeof *voids);
    *count = 0;
    for (size_t i = 0; i < manifest->void_count; i++) {
        if (manifest->voids[i].file == number) {
            voids[(*count)++] = manifest->voids[i];
        }
    }
    unlock(manifest);
    qsort(voids, *count, sizeof *voids, compare_voids);
    return voids;
}

uint64_t sc_manifest_next_number(struct sc_manifest *manifest)
{
    lock(manifest);
    uint64_t number = manifest->next_number++;
    unlock(manifest);
    return number;
}

enum sc_status sc_manifest_add_file(struct sc_manifest *manifest, uint64_t number, uint64_t salt,
                                    char *why)
{
    lock(manifest);
    size_t count = manifest->file_count;
    manifest->files = sc_realloc(manifest->files, (count + 1) * sizeof *manifest->files);
    size_t at = count;
    while (at > 0 && manifest->files[at - 1].number > number) {
        manifest->files[at] = manifest->files[at - 1];
        at--;
    }
    manifest->files[at] = (struct sc_manifest_file){.number = number, .salt = salt};
    manifest->file_count = count + 1;
    enum sc_status status = save_locked(manifest, why);
    if (status == SC_IO) {
        memmove(&manifest->files[at], &manifest->files[at + 1],
                (count - at) * sizeof *manifest->files);
        manifest->file_count = count;
    }
    unlock(manifest);
    return status;
}

enum sc_status sc_manifest_add_voids(struct sc_manifest *manifest,
                                     const struct sc_manifest_void *voids, size_t count, char *why)
{
    if (count == 0) {
        return SC_OK;
    }
    lock(manifest);
    size_t before = manifest->void_count;
    manifest->voids = sc_realloc(manifest->voids, (before + count) * sizeof *manifest->voids);
    memcpy(&manifest->voids[before], voids, count * sizeof *voids);
    manifest->void_count = before + count;
    enum sc_status status = save_locked(manifest, why);
    if (status == SC_IO) {
        manifest->void_count = before;
    }
    unlock(manifest);
    return status == SC_OK ? SC_OK : SC_IO;
}

void sc_manifest_settle(struct sc_manifest *manifest, uint64_t number, uint64_t size)
{
    lock(manifest);
    for (size_t i = 0; i < manifest->file_count; i++) {
        if (manifest->files[i].number == number) {
            manifest->files[i].settled_size = size;
            manifest->dirty = true;
        }
    }
    unlock(manifest);
}

/* ---- Merges ---- */

static void add_discarded(struct sc_manifest *manifest, uint64_t number)
{
    size_t count = manifest->discarded_count + 1;
    manifest->discarded = sc_realloc(manifest->discarded, count * sizeof *manifest->discarded);
    manifest->discarded[count - 1] = number;
    manifest->discarded_count = count;
}

static void remove_discarded(struct sc_manifest *manifest, uint64_t number)
{
    size_t kept = 0;
    for (size_t i = 0; i < manifest->discarded_count; i++) {
        if (manifest->discarded[i] != number) {
            manifest->discarded[kept++] = manifest->discarded[i];
        }
    }
    manifest->discarded_count = kept;
}

enum sc_status sc_manifest_reserve(struct sc_manifest *manifest, uint64_t *number, char *why)
{
    lock(manifest);
    *number = manifest->next_number++;
    add_discarded(manifest, *number);
    enum sc_status status = save_locked(manifest, why);
    if (status != SC_OK) {
        remove_discarded(manifest, *number); /* and no file with this number will be made */
    }
    unlock(manifest);
    return status == SC_OK ? SC_OK : SC_IO;
}

static int compare_files(const void *a, const void *b)
{
    const struct sc_manifest_file *x = a;
    const struct sc_manifest_file *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

static bool is_in(const uint64_t *numbers, size_t count, uint64_t number)
{
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] == number) {
            return true;
        }
    }
    return false;
}

/* The lists that a swap changes. */
struct lists {
    struct sc_manifest_file *files;
    size_t file_count;
    struct sc_manifest_void *voids;
    size_t void_count;
    uint64_t *discarded;
    size_t discarded_count;
};

static struct lists get_lists(const struct sc_manifest *manifest)
{
    return (struct lists){manifest->files,      manifest->file_count, manifest->voids,
                          manifest->void_count, manifest->discarded,  manifest->discarded_count};
}

static void set_lists(struct sc_manifest *manifest, const struct lists *lists)
{
    manifest->files = lists->files;
    manifest->file_count = lists->file_count;
    manifest->voids = lists->voids;
    manifest->void_count = lists->void_count;
    manifest->discarded = lists->discarded;
    manifest->discarded_count = lists->discarded_count;
}

static void free_lists(const struct lists *lists)
{
    free(lists->files);
    free(lists->voids);
    free(lists->discarded);
}

/* Sets lists as they are to be after the swap, in memory of their own. */
static void swap_lists(struct sc_manifest *manifest, const struct lists *old,
                       const struct sc_manifest_file *outs, size_t out_count, const uint64_t *ins,
                       size_t in_count)
{
    struct lists new = {
        .files = sc_calloc(old->file_count + out_count + 1, sizeof *new.files),
        .voids = sc_calloc(old->void_count + 1, sizeof *new.voids),
        .discarded = sc_calloc(old->discarded_count + 1, sizeof *new.discarded),
    };
    for (size_t i = 0; i < old->file_count; i++) {
        if (!is_in(ins, in_count, old->files[i].number)) {
            new.files[new.file_count++] = old->files[i];
        }
    }
    for (size_t i = 0; i < out_count; i++) {
        new.files[new.file_count++] = outs[i];
    }
    qsort(new.files, new.file_count, sizeof *new.files, compare_files);
    for (size_t i = 0; i < old->void_count; i++) {
        if (!is_in(ins, in_count, old->voids[i].file)) {
            new.voids[new.void_count++] = old->voids[i];
        }
    }
    for (size_t i = 0; i < old->discarded_count; i++) {
        new.discarded[new.discarded_count++] = old->discarded[i];
    }
    set_lists(manifest, &new);
    for (size_t i = 0; i < out_count; i++) {
        remove_discarded(manifest, outs[i].number);
    }
    for (size_t i = 0; i < in_count; i++) {
        add_discarded(manifest, ins[i]);
    }
}

enum sc_status sc_manifest_swap(struct sc_manifest *manifest, const struct sc_manifest_file *outs,
                                size_t out_count, const uint64_t *ins, size_t in_count, char *why)
{
    lock(manifest);
    struct lists before = get_lists(manifest);
    swap_lists(manifest, &before, outs, out_count, ins, in_count);
    enum sc_status status = save_locked(manifest, why);
    if (status == SC_IO) {
        struct lists after = get_lists(manifest);
        free_lists(&after);
        set_lists(manifest, &before);
    } else {
        free_lists(&before);
    }
    unlock(manifest);
    return status;
}

bool sc_manifest_is_discarded(struct sc_manifest *manifest, uint64_t number)
{
    lock(manifest);
    bool found = is_in(manifest->discarded, manifest->discarded_count, number);
    unlock(manifest);
    return found;
}

void sc_manifest_forget_discarded(struct sc_manifest *manifest, uint64_t number)
{
    lock(manifest);
    remove_discarded(manifest, number);
    manifest->dirty = true;
    unlock(manifest);
}

void sc_manifest_forget_all_discarded(struct sc_manifest *manifest)
{
    lock(manifest);
    manifest->dirty = manifest->dirty || manifest->discarded_count > 0;
    manifest->discarded_count = 0;
    unlock(manifest);
}
