#include "shard/manifest_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct sc_manifest *sc_manifest_alloc(const struct sc_files *files)
{
    struct sc_manifest *manifest = sc_calloc(1, sizeof *manifest);
    manifest->dir = files;
    (void)pthread_mutex_init(&manifest->mutex, NULL); /* cannot fail with default attributes */
    manifest->next_number = 1;
    manifest->state = sc_calloc(1, sizeof *manifest->state);
    return manifest;
}

void sc_manifest_free(struct sc_manifest *manifest)
{
    if (manifest != NULL) {
        (void)pthread_mutex_destroy(&manifest->mutex);
        free(manifest->files);
        free(manifest->voids);
        sc_manifest_state_free(manifest->state);
        free(manifest->discarded);
        free(manifest);
    }
}

/* ---- Files ---- */

size_t sc_manifest_files(struct sc_manifest *manifest)
{
    sc_manifest_lock(manifest);
    size_t count = manifest->file_count;
    sc_manifest_unlock(manifest);
    return count;
}

struct sc_manifest_file sc_manifest_file(struct sc_manifest *manifest, size_t index)
{
    sc_manifest_lock(manifest);
    assert(index < manifest->file_count);
    struct sc_manifest_file file = manifest->files[index];
    sc_manifest_unlock(manifest);
    return file;
}

bool sc_manifest_find_file(struct sc_manifest *manifest, uint64_t number,
                           struct sc_manifest_file *file)
{
    bool found = false;
    sc_manifest_lock(manifest);
    for (size_t i = 0; i < manifest->file_count && !found; i++) {
        if (manifest->files[i].number == number) {
            *file = manifest->files[i];
            found = true;
        }
    }
    sc_manifest_unlock(manifest);
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
    sc_manifest_lock(manifest);
    struct sc_manifest_void *voids = sc_calloc(manifest->void_count + 1, sizeof *voids);
    *count = 0;
    for (size_t i = 0; i < manifest->void_count; i++) {
        if (manifest->voids[i].file == number) {
            voids[(*count)++] = manifest->voids[i];
        }
    }
    sc_manifest_unlock(manifest);
    qsort(voids, *count, sizeof *voids, compare_voids);
    return voids;
}

uint64_t sc_manifest_next_number(struct sc_manifest *manifest)
{
    sc_manifest_lock(manifest);
    uint64_t number = manifest->next_number++;
    sc_manifest_unlock(manifest);
    return number;
}

enum sc_status sc_manifest_add_file(struct sc_manifest *manifest, uint64_t number, uint64_t salt,
                                    char *why)
{
    sc_manifest_lock(manifest);
    size_t count = manifest->file_count;
    manifest->files = sc_realloc(manifest->files, (count + 1) * sizeof *manifest->files);
    size_t at = count;
    while (at > 0 && manifest->files[at - 1].number > number) {
        manifest->files[at] = manifest->files[at - 1];
        at--;
    }
    manifest->files[at] = (struct sc_manifest_file){.number = number, .salt = salt};
    manifest->file_count = count + 1;
    enum sc_status status = sc_manifest_save_locked(manifest, why);
    if (status == SC_IO) {
        memmove(&manifest->files[at], &manifest->files[at + 1],
                (count - at) * sizeof *manifest->files);
        manifest->file_count = count;
    }
    sc_manifest_unlock(manifest);
    return status;
}

static void append_voids(struct sc_manifest *manifest, const struct sc_manifest_void *voids,
                         size_t count)
{
    size_t before = manifest->void_count;
    manifest->voids = sc_realloc(manifest->voids, (before + count) * sizeof *manifest->voids);
    memcpy(&manifest->voids[before], voids, count * sizeof *voids);
    manifest->void_count = before + count;
}

void sc_manifest_note_voids(struct sc_manifest *manifest, const struct sc_manifest_void *voids,
                            size_t count)
{
    if (count > 0) {
        sc_manifest_lock(manifest);
        append_voids(manifest, voids, count);
        sc_manifest_unlock(manifest);
    }
}

enum sc_status sc_manifest_add_voids(struct sc_manifest *manifest,
                                     const struct sc_manifest_void *voids, size_t count, char *why)
{
    if (count == 0) {
        return SC_OK;
    }
    sc_manifest_lock(manifest);
    size_t before = manifest->void_count;
    append_voids(manifest, voids, count);
    enum sc_status status = sc_manifest_save_locked(manifest, why);
    if (status == SC_IO) {
        manifest->void_count = before;
    }
    sc_manifest_unlock(manifest);
    return status == SC_OK ? SC_OK : SC_IO;
}

void sc_manifest_settle(struct sc_manifest *manifest, uint64_t number, uint64_t size)
{
    sc_manifest_lock(manifest);
    for (size_t i = 0; i < manifest->file_count; i++) {
        if (manifest->files[i].number == number) {
            manifest->files[i].settled_size = size;
            manifest->dirty = true;
        }
    }
    sc_manifest_unlock(manifest);
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
    sc_manifest_lock(manifest);
    *number = manifest->next_number++;
    add_discarded(manifest, *number);
    enum sc_status status = sc_manifest_save_locked(manifest, why);
    if (status != SC_OK) {
        remove_discarded(manifest, *number); /* and no file with this number will be made */
    }
    sc_manifest_unlock(manifest);
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
    sc_manifest_lock(manifest);
    struct lists before = get_lists(manifest);
    swap_lists(manifest, &before, outs, out_count, ins, in_count);
    enum sc_status status = sc_manifest_save_locked(manifest, why);
    if (status == SC_IO) {
        struct lists after = get_lists(manifest);
        free_lists(&after);
        set_lists(manifest, &before);
    } else {
        free_lists(&before);
    }
    sc_manifest_unlock(manifest);
    return status;
}

bool sc_manifest_is_discarded(struct sc_manifest *manifest, uint64_t number)
{
    sc_manifest_lock(manifest);
    bool found = is_in(manifest->discarded, manifest->discarded_count, number);
    sc_manifest_unlock(manifest);
    return found;
}

void sc_manifest_forget_discarded(struct sc_manifest *manifest, uint64_t number)
{
    sc_manifest_lock(manifest);
    remove_discarded(manifest, number);
    manifest->dirty = true;
    sc_manifest_unlock(manifest);
}

void sc_manifest_forget_all_discarded(struct sc_manifest *manifest)
{
    sc_manifest_lock(manifest);
    manifest->dirty = manifest->dirty || manifest->discarded_count > 0;
    manifest->discarded_count = 0;
    sc_manifest_unlock(manifest);
}

/* ---- Copies ---- */

/* Keeps the voids of the files listed. */
static void keep_voids(struct sc_manifest *manifest)
{
    size_t kept = 0;
    for (size_t i = 0; i < manifest->void_count; i++) {
        bool listed = false;
        for (size_t f = 0; f < manifest->file_count && !listed; f++) {
            listed = manifest->files[f].number == manifest->voids[i].file;
        }
        if (listed) {
            manifest->voids[kept++] = manifest->voids[i];
        }
    }
    manifest->void_count = kept;
}

enum sc_status sc_manifest_save_files(struct sc_manifest *copy,
                                      const struct sc_manifest_file *files, size_t count, char *why)
{
    sc_manifest_lock(copy);
    copy->files = sc_realloc(copy->files, (count + 1) * sizeof *copy->files);
    if (count > 0) {
        memcpy(copy->files, files, count * sizeof *files);
        qsort(copy->files, count, sizeof *copy->files, compare_files);
    }
    copy->file_count = count;
    copy->discarded_count = 0;
    keep_voids(copy);
    enum sc_status status = sc_manifest_save_locked(copy, why);
    sc_manifest_unlock(copy);
    return status == SC_OK ? SC_OK : SC_IO;
}
