#include "shard/scrub.h"

#include "common/log.h"
#include "shard/bitcask_impl.h"
#include "shard/diskfile.h"
#include "shard/durable.h"
#include "shard/hint.h"
#include "shard/passes.h"
#include "shard/walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STRETCHES_MAX 1024u /* of one file, whose records are looked up in its hint */
#define PROCEED_BYTES (UINT64_C(256) << 10)

struct sc_scrub {
    struct sc_bitcask *store; /* kept */

    /* guarded by the lock of the store */
    struct sc_scrub_figures figures;
    struct sc_passes passes;

    /* of the pass that runs; the thread's */
    const struct sc_scrub_host *host;
    bool notes;
    enum sc_status worst; /* SC_OK or SC_IO, with `why` */
    char why[SC_WHY_SIZE];
};

/* Bytes of a file that are no whole record. */
struct stretch {
    enum sc_damage_kind kind;
    uint64_t from, to;
    uint64_t next; /* while the hint is read: it told of all records from `from` to here */
};

/* A data file while it is read. */
struct reading {
    struct sc_scrub *scrub;
    uint64_t number;
    uint64_t salt;
    uint64_t end; /* of what was committed */
    uint64_t expected; /* size that it should have */
    uint64_t hinted; /* the keydir knows what the hint tells of up to here */
    uint64_t reached; /* where the last record ended, or should have */
    bool sealed;
    char name[SC_FILES_NAME_SIZE];
    struct sc_diskfile file;
    struct stretch *stretches; /* in the order of their offsets */
    size_t stretch_count;
    size_t hint_at; /* while the hint is read: stretches before this one are behind it */
};

struct sc_scrub *sc_scrub_alloc(struct sc_bitcask *store)
{
    struct sc_scrub *scrub = sc_calloc(1, sizeof *scrub);
    scrub->store = store;
    scrub->passes = sc_passes_load(&store->files);
    return scrub;
}

void sc_scrub_free(struct sc_scrub *scrub)
{
    free(scrub);
}

void sc_scrub_figures(const struct sc_scrub *scrub, struct sc_scrub_figures *figures)
{
    *figures = scrub->figures;
    figures->interrupted = scrub->passes.after > 0;
    figures->began_ms = scrub->passes.began_ms;
    figures->ended_ms = scrub->passes.ended_ms;
}

static void lock(const struct sc_scrub *scrub)
{
    scrub->host->lock(scrub->host->arg);
}

static void unlock(const struct sc_scrub *scrub)
{
    scrub->host->unlock(scrub->host->arg);
}

static enum sc_status proceed(struct sc_scrub *scrub, uint64_t bytes)
{
    lock(scrub);
    scrub->figures.bytes_done += bytes;
    unlock(scrub);
    return scrub->host->proceed(scrub->host->arg, bytes) ? SC_OK : SC_UNAVAILABLE;
}

/* Something could not be read: goes on with the rest. */
static void note_unread(struct sc_scrub *scrub, const char *why)
{
    sc_log_error("scrub: %s", why);
    if (scrub->worst == SC_OK) {
        memcpy(scrub->why, why, sizeof scrub->why);
        scrub->worst = SC_IO;
    }
}

/* ---- What the store knows ---- */

static struct sc_segment *find_locked(const struct sc_scrub *scrub, uint64_t number)
{
    const struct sc_bitcask *store = scrub->store;
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment != NULL && segment->number == number && !segment->retired) {
            return segment;
        }
    }
    return NULL;
}

static bool is_listed(const struct sc_scrub *scrub, uint64_t number)
{
    lock(scrub);
    bool listed = find_locked(scrub, number) != NULL;
    unlock(scrub);
    return listed;
}

/* Whether the keydir points to this record. */
static bool is_live(const struct sc_scrub *scrub, const struct reading *reading,
                    struct sc_slice key, uint64_t offset)
{
    struct sc_keydir_entry entry;
    uint64_t hash = sc_slot_hash(key);
    lock(scrub);
    const struct sc_segment *segment = find_locked(scrub, reading->number);
    bool live = segment != NULL && sc_keydir_find(scrub->store->keydir, key, hash, &entry) &&
                entry.location.file == segment->index && entry.location.offset == offset;
    unlock(scrub);
    return live;
}

static bool begin_reading(struct sc_scrub *scrub, uint64_t number, struct reading *reading)
{
    struct sc_manifest_file file = {0};
    *reading = (struct reading){.scrub = scrub, .number = number};
    sc_files_data_name(reading->name, number);
    lock(scrub);
    const struct sc_segment *segment = find_locked(scrub, number);
    if (segment != NULL) {
        reading->salt = segment->salt;
        reading->end = sc_bitcask_committed_size(scrub->store, segment);
        reading->hinted = segment->hinted;
        reading->sealed = segment->sealed && segment->settled;
    }
    unlock(scrub);
    (void)sc_manifest_find_file(scrub->store->manifest, number, &file);
    reading->expected = file.settled_size > reading->end ? file.settled_size : reading->end;
    return segment != NULL;
}

/* ---- Telling ---- */

static void tell(const struct reading *reading, const struct sc_damage *damage)
{
    const struct sc_scrub *scrub = reading->scrub;
    /* A merge may have taken the file away: then it is no part of the store any more. */
    if (is_listed(scrub, reading->number) && (scrub->notes || !sc_damage_is_note(damage))) {
        scrub->host->found(scrub->host->arg, damage);
    }
}

static void tell_simple(const struct reading *reading, enum sc_damage_kind kind, uint64_t offset,
                        uint64_t size)
{
    const struct sc_damage damage = {
        .kind = kind, .file = reading->number, .offset = offset, .size = size};
    tell(reading, &damage);
}

static void add_stretch(struct reading *reading, enum sc_damage_kind kind, uint64_t from,
                        uint64_t to)
{
    if (reading->stretch_count == STRETCHES_MAX) {
        tell_simple(reading, kind, from, to - from); /* without what the hint might know */
        return;
    }
    reading->stretches =
        sc_realloc(reading->stretches, (reading->stretch_count + 1) * sizeof *reading->stretches);
    reading->stretches[reading->stretch_count++] = (struct stretch){kind, from, to, from};
}

/* The end of the file is missing: from the last record on that is there, be it cut through. */
static void add_end(struct reading *reading)
{
    struct stretch *last =
        reading->stretch_count > 0 ? &reading->stretches[reading->stretch_count - 1] : NULL;
    uint64_t from = reading->reached > reading->file.size ? reading->reached : reading->file.size;
    from = from > SC_SEGMENT_HEADER_SIZE ? from : SC_SEGMENT_HEADER_SIZE;
    if (last != NULL && last->to == reading->file.size) {
        last->kind = SC_DAMAGE_END;
        last->to = reading->expected;
    } else if (from < reading->expected) {
        add_stretch(reading, SC_DAMAGE_END, from, reading->expected);
    }
}

/* ---- Reading ---- */

static struct sc_walk_source source_of(struct reading *reading)
{
    return (struct sc_walk_source){sc_diskfile_read, &reading->file};
}

/* Reads a second time what was found damaged, in case it was read wrongly. */
static bool is_confirmed(struct reading *reading, const struct sc_walk_item *item)
{
    struct sc_walk walk;
    struct sc_walk_item again;
    sc_diskfile_reread(&reading->file);
    sc_walk_init_source(&walk, source_of(reading), reading->salt, item->offset,
                        item->offset + item->size < reading->file.size ? item->offset + item->size
                                                                       : reading->file.size,
                        NULL, 0);
    bool confirmed = !sc_walk_next(&walk, &again) || again.kind != SC_WALK_RECORD;
    sc_walk_fini(&walk);
    if (!confirmed) {
        sc_log_warn("scrub: %s in %s: the record at offset %" PRIu64
                    " was damaged when it was read first, and whole the second time: the memory, "
                    "the disk or what connects them may be failing",
                    reading->name, reading->scrub->store->files.path, item->offset);
    }
    return confirmed;
}

/* The value was lost before: told as long as nothing newer is there. */
static void tell_lost(const struct reading *reading, const struct sc_walk_item *item)
{
    const struct sc_damage damage = {
        .kind = SC_DAMAGE_LOST,
        .file = reading->number,
        .offset = item->offset,
        .size = item->size,
        .key = item->record.key,
        .version = item->record.version,
        .live = true,
    };
    if (is_live(reading->scrub, reading, item->record.key, item->offset)) {
        tell(reading, &damage);
    }
}

static void take_item(struct reading *reading, const struct sc_walk_item *item)
{
    if (item->kind == SC_WALK_RECORD && item->record.lost) {
        tell_lost(reading, item);
    }
    if (item->kind == SC_WALK_RECORD || !is_confirmed(reading, item)) {
        return;
    }
    if (item->kind == SC_WALK_DAMAGE) {
        add_stretch(reading, SC_DAMAGE_STRETCH, item->offset, item->offset + item->size);
        return;
    }
    struct sc_damage damage = {
        .kind = SC_DAMAGE_VALUE,
        .file = reading->number,
        .offset = item->offset,
        .size = item->size,
        .key = item->record.key,
        .version = item->record.version,
        .live = is_live(reading->scrub, reading, item->record.key, item->offset),
        .unreadable = sc_diskfile_has_gap(&reading->file, item->offset, item->size),
    };
    tell(reading, &damage);
}

/* Walks over the records from one place to another. */
static enum sc_status read_records(struct reading *reading, uint64_t from, uint64_t to, char *why)
{
    struct sc_scrub *scrub = reading->scrub;
    struct sc_walk walk;
    struct sc_walk_item item;
    size_t void_count;
    struct sc_manifest_void *voids =
        sc_manifest_voids(scrub->store->manifest, reading->number, &void_count);
    for (size_t i = 0; i < void_count; i++) {
        tell_simple(reading, SC_DAMAGE_VOID, voids[i].offset, voids[i].size);
    }
    uint64_t end = to < reading->file.size ? to : reading->file.size;
    uint64_t passed = from <= SC_SEGMENT_HEADER_SIZE ? 0 : from;
    enum sc_status status = SC_OK;
    sc_walk_init_source(&walk, source_of(reading), reading->salt, from, end, voids, void_count);
    while (status == SC_OK && sc_walk_next(&walk, &item)) {
        take_item(reading, &item);
        reading->reached = item.offset + item.size;
        if (walk.offset - passed >= PROCEED_BYTES) {
            status = proceed(scrub, walk.offset - passed);
            passed = walk.offset;
        }
    }
    if (status == SC_OK && walk.status != SC_OK) {
        errno = walk.error;
        status = sc_files_fail(&scrub->store->files, "read", reading->name, why);
    }
    sc_walk_fini(&walk);
    free(voids);
    if (status == SC_OK && end > passed) {
        status = proceed(scrub, end - passed);
    }
    return status;
}

static enum sc_status read_head(struct reading *reading, char *why)
{
    uint8_t header[SC_SEGMENT_HEADER_SIZE];
    char what[SC_WHY_SIZE];
    bool too_new;
    ssize_t got = sc_diskfile_read(&reading->file, header, sizeof header, 0);
    if (got < 0) {
        return sc_files_fail(&reading->scrub->store->files, "read", reading->name, why);
    }
    /* An empty file is told as one that misses its end. */
    if (got > 0 && sc_segment_judge(header, (size_t)got, reading->number, reading->salt, &too_new,
                                    what) != SC_OK) {
        tell_simple(reading, SC_DAMAGE_HEAD, 0, SC_SEGMENT_HEADER_SIZE);
    }
    return SC_OK;
}

/* ---- What the hint knows of the stretches ---- */

/* Entries come in the order of their offsets, as stretches do. */
static void take_hint_entry(void *arg, const struct sc_hint_entry *entry)
{
    struct reading *reading = arg;
    while (reading->hint_at < reading->stretch_count &&
           reading->stretches[reading->hint_at].to <= entry->offset) {
        reading->hint_at++;
    }
    struct stretch *stretch = reading->stretches + reading->hint_at;
    if (reading->hint_at == reading->stretch_count || entry->offset < stretch->from) {
        return;
    }
    if (entry->offset == stretch->next) {
        stretch->next += entry->size;
    }
    if (entry->record.kind == SC_RECORD_PUT) {
        const struct sc_damage damage = {
            .kind = SC_DAMAGE_RECORD,
            .file = reading->number,
            .offset = entry->offset,
            .size = entry->size,
            .key = entry->record.key,
            .version = entry->record.version,
            .live = is_live(reading->scrub, reading, entry->record.key, entry->offset),
        };
        tell(reading, &damage);
    }
}

static void tell_stretches(const struct reading *reading, bool hint_good)
{
    for (size_t i = 0; i < reading->stretch_count; i++) {
        const struct stretch *stretch = &reading->stretches[i];
        const struct sc_damage damage = {
            .kind = stretch->kind,
            .file = reading->number,
            .offset = stretch->from,
            .size = stretch->to - stretch->from,
            .known = hint_good && stretch->next == stretch->to && stretch->to <= reading->hinted,
            .unreadable =
                sc_diskfile_has_gap(&reading->file, stretch->from, stretch->to - stretch->from),
        };
        tell(reading, &damage);
    }
}

static enum sc_status read_hint(struct reading *reading, char *why)
{
    char what[SC_WHY_SIZE];
    uint64_t covered = 0;
    enum sc_status status =
        sc_hint_load(&reading->scrub->store->files, reading->number, reading->salt,
                     reading->expected, take_hint_entry, reading, &covered, what);
    tell_stretches(reading, status == SC_OK);
    /* A file that was being written when its turn came may have been finished since, and its hint
     * made: that tells of more than was looked at. The next pass judges it. */
    bool finished = reading->sealed || reading->scrub->store->options.read_only;
    if (status == SC_CORRUPT && finished) {
        tell_simple(reading, SC_DAMAGE_HINT, 0, 0);
    } else if (status == SC_NOTFOUND || (status == SC_OK && covered < reading->end)) {
        tell_simple(reading, SC_DAMAGE_UNHINTED, 0, 0);
    }
    return status == SC_IO ? sc_fail(why, SC_IO, "the hint of %s in %s: %s", reading->name,
                                     reading->scrub->store->files.path, what)
                           : SC_OK;
}

/* ---- Files ---- */

/* Whether the file in the directory is the one that the store has open. */
static bool is_same_file(const struct reading *reading)
{
    struct stat stat = {0};
    lock(reading->scrub);
    const struct sc_segment *segment = find_locked(reading->scrub, reading->number);
    bool same = segment == NULL || fstat(segment->fd, &stat) != 0 || !S_ISREG(stat.st_mode) ||
                (stat.st_dev == reading->file.device && stat.st_ino == reading->file.inode);
    unlock(reading->scrub);
    return same;
}

static enum sc_status read_file(struct reading *reading, char *why)
{
    enum sc_status status = read_head(reading, why);
    if (status == SC_OK) {
        status = read_records(reading, SC_SEGMENT_HEADER_SIZE, reading->end, why);
    }
    if (status != SC_OK) {
        return status;
    }
    uint64_t size = reading->file.size;
    if (size < reading->expected) {
        add_end(reading);
    } else if (reading->scrub->store->options.read_only && size > reading->end &&
               !sc_writer_is_ahead(reading->file.fd, reading->end, size)) {
        tell_simple(reading, SC_DAMAGE_TORN, reading->end, size - reading->end);
    }
    return read_hint(reading, why);
}

/* The file is not in the directory, or another one is there. */
static void tell_missing(struct reading *reading)
{
    add_stretch(reading, SC_DAMAGE_FILE, SC_SEGMENT_HEADER_SIZE, reading->expected);
    if (is_listed(reading->scrub, reading->number)) {
        char why[SC_WHY_SIZE];
        (void)read_hint(reading, why);
    }
}

/* Notes how far the pass is; 0: at its end. */
static void note_pass(struct sc_scrub *scrub, uint64_t after)
{
    lock(scrub);
    scrub->passes.after = after;
    if (after == 0) {
        scrub->passes.ended_ms = sc_clock_wall_us() / 1000;
    }
    const struct sc_passes passes = scrub->passes;
    unlock(scrub);
    if (!scrub->store->options.read_only) {
        sc_passes_save(&passes, &scrub->store->files);
    }
}

static enum sc_status scrub_file(struct sc_scrub *scrub, uint64_t number)
{
    struct reading reading;
    char why[SC_WHY_SIZE];
    if (!begin_reading(scrub, number, &reading)) {
        return SC_OK;
    }
    scrub->host->begin(scrub->host->arg, number);
    enum sc_status status =
        sc_diskfile_open(&reading.file, &scrub->store->files, reading.name, !reading.sealed, why);
    if (status == SC_NOTFOUND) {
        tell_missing(&reading);
        status = SC_OK;
    } else if (status == SC_OK) {
        if (is_same_file(&reading)) {
            status = read_file(&reading, why);
        } else {
            tell_missing(&reading);
        }
        sc_diskfile_close(&reading.file);
    }
    free(reading.stretches);
    if (status == SC_IO) {
        note_unread(scrub, why);
    }
    if (status == SC_UNAVAILABLE) {
        return status;
    }
    scrub->host->end(scrub->host->arg, number, status == SC_OK);
    note_pass(scrub, number);
    return SC_OK;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The numbers of the files to read, in their order; the caller frees them. */
static uint64_t *begin_pass(struct sc_scrub *scrub, bool again, size_t *count)
{
    const struct sc_bitcask *store = scrub->store;
    uint64_t *numbers = sc_calloc(SC_LOCATION_FILES_MAX, sizeof *numbers);
    *count = 0;
    lock(scrub);
    if (again || scrub->passes.after == 0) {
        scrub->passes.began_ms = sc_clock_wall_us() / 1000;
        scrub->passes.after = 0;
    }
    uint64_t after = scrub->passes.after;
    scrub->figures = (struct sc_scrub_figures){.running = true};
    for (size_t i = 0; i < store->segment_count; i++) {
        const struct sc_segment *segment = store->segments[i];
        if (segment != NULL && !segment->retired && segment->number > after) {
            numbers[(*count)++] = segment->number;
            scrub->figures.bytes += sc_bitcask_committed_size(store, segment);
        }
    }
    scrub->figures.files = *count;
    unlock(scrub);
    qsort(numbers, *count, sizeof *numbers, compare_numbers);
    return numbers;
}

/* ---- The other files ---- */

static bool scrub_manifest(struct sc_scrub *scrub)
{
    char why[SC_WHY_SIZE];
    unsigned damaged = 0;
    const struct sc_damage damage = {.kind = SC_DAMAGE_MANIFEST};
    if (sc_manifest_check(scrub->store->manifest, &damaged, why) != SC_OK) {
        note_unread(scrub, why);
        return false;
    }
    if (damaged > 0) {
        scrub->host->found(scrub->host->arg, &damage);
    }
    return true;
}

static bool scrub_durable(struct sc_scrub *scrub)
{
    char why[SC_WHY_SIZE];
    struct sc_durable_mark mark;
    bool damaged = false;
    const struct sc_damage damage = {.kind = SC_DAMAGE_DURABLE};
    if (sc_durable_load(&scrub->store->files, &mark, &damaged, why) != SC_OK) {
        note_unread(scrub, why);
        return false;
    }
    if (damaged) {
        scrub->host->found(scrub->host->arg, &damage);
    }
    return true;
}

enum sc_status sc_scrub_run(struct sc_scrub *scrub, const struct sc_scrub_host *host, bool again,
                            bool notes, char *why)
{
    size_t count;
    scrub->host = host;
    scrub->notes = notes;
    scrub->worst = SC_OK;
    uint64_t *numbers = begin_pass(scrub, again, &count);
    enum sc_status status = SC_OK;
    for (size_t i = 0; i < count && status == SC_OK; i++) {
        status = scrub_file(scrub, numbers[i]);
    }
    free(numbers);
    if (status == SC_OK) {
        host->begin(host->arg, 0);
        bool whole = scrub_manifest(scrub);
        if (scrub->store->options.read_only) { /* else it is written all the time */
            whole = scrub_durable(scrub) && whole;
        }
        host->end(host->arg, 0, whole);
        note_pass(scrub, 0);
    }
    lock(scrub);
    scrub->figures.running = false;
    unlock(scrub);
    if (status != SC_OK) {
        return sc_fail(why, status, "the scrub was told to stop");
    }
    return scrub->worst == SC_OK ? SC_OK : sc_fail(why, SC_IO, "%s", scrub->why);
}

static bool goes_on(void *arg, uint64_t bytes)
{
    (void)arg;
    (void)bytes;
    return true;
}

void sc_scrub_look(struct sc_scrub *scrub, const struct sc_scrub_host *host,
                   const struct sc_damage *place)
{
    struct reading reading;
    char why[SC_WHY_SIZE];
    struct sc_scrub_host patient = *host;
    patient.proceed = goes_on; /* it is not much */
    scrub->host = &patient;
    scrub->notes = false;
    if (!begin_reading(scrub, place->file, &reading) ||
        sc_diskfile_open(&reading.file, &scrub->store->files, reading.name, true, why) != SC_OK) {
        return;
    }
    uint64_t to = place->offset + place->size;
    enum sc_status status = SC_OK;
    if (place->offset < SC_SEGMENT_HEADER_SIZE) {
        status = read_head(&reading, why);
    } else if (place->offset % SC_RECORD_UNIT == 0 && place->offset < reading.end) {
        status = read_records(&reading, place->offset, to < reading.end ? to : reading.end, why);
    }
    if (status == SC_OK && reading.stretch_count > 0) {
        (void)read_hint(&reading, why);
    }
    sc_diskfile_close(&reading.file);
    free(reading.stretches);
}
