#include "tools/restore_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "shard/snapshot.h"

/* Something that was found damaged when a directory was opened. */
struct finding {
    char file[32];
    uint64_t offset;
    char text[SC_WHY_SIZE];
};

struct sc_import_reader {
    const struct sc_backup_list *list; /* borrowed */
    size_t next_shard; /* to be opened */
    const struct sc_backup_list_shard *shard; /* that is open */
    struct sc_bitcask *store; /* NULL: none is */
    struct sc_snapshot *snapshot;
    struct sc_snapshot_page page;
    size_t next_record; /* of the page */
    struct finding *findings;
    size_t finding_count;
    size_t next_finding;
    uint64_t done; /* bytes of the shards that were read */
    uint64_t given; /* records of the shard that is open */
};

struct sc_import_reader *sc_restore_source_open(const struct sc_backup_list *list)
{
    struct sc_import_reader *reader = sc_calloc(1, sizeof *reader);
    reader->list = list;
    return reader;
}

static uint64_t shard_bytes(const struct sc_backup_list_shard *shard)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < shard->file_count; i++) {
        bytes += shard->files[i].size;
    }
    return bytes;
}

static void close_shard(struct sc_import_reader *reader)
{
    if (reader->store != NULL) {
        sc_snapshot_close(reader->snapshot);
        (void)sc_bitcask_close(
            reader->store); /* it was opened for reading: there is nothing to lose */
        reader->done += shard_bytes(reader->shard);
    }
    reader->snapshot = NULL;
    reader->store = NULL;
}

static void source_close(struct sc_import_reader *reader)
{
    close_shard(reader);
    sc_snapshot_page_fini(&reader->page);
    free(reader->findings);
    free(reader);
}

static void on_event(void *arg, const struct sc_bitcask_event *event)
{
    struct sc_import_reader *reader = arg;
    if (event->kind != SC_EVENT_DAMAGE) {
        return;
    }
    size_t count = reader->finding_count + 1;
    reader->findings = sc_realloc(reader->findings, count * sizeof *reader->findings);
    struct finding *finding = &reader->findings[reader->finding_count++];
    *finding = (struct finding){.offset = event->offset};
    snprintf(finding->file, sizeof finding->file, "%.31s", event->file);
    snprintf(finding->text, sizeof finding->text, "%s", event->text);
}

/* Opens the next directory. */
static enum sc_status open_shard(struct sc_import_reader *reader, char *why)
{
    const struct sc_backup_list_shard *shard = &reader->list->shards[reader->next_shard];
    const struct sc_bitcask_options options = {
        .file_size_max = SC_BITCASK_FILE_SIZE_DEFAULT,
        .value_max = UINT32_MAX,
        .sync_ms = SC_BITCASK_SYNC_NEVER,
        .read_only = true,
    };
    uint8_t slots[SC_SLOT_COUNT / 8] = {0};
    char trouble[SC_WHY_SIZE] = "";
    reader->finding_count = reader->next_finding = 0;
    enum sc_status status =
        sc_bitcask_open(shard->path, &options, on_event, reader, &reader->store, trouble);
    if (status != SC_OK) {
        reader->store = NULL;
        return sc_fail(why, status, "%s cannot be opened: %s", shard->path, trouble);
    }
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (reader->list->owner[slot] == shard->id) {
            slots[slot / 8] |= (uint8_t)(1u << (slot % 8));
        }
    }
    reader->shard = shard;
    reader->next_shard++;
    reader->snapshot = sc_snapshot_open(reader->store, slots, 0);
    reader->page.count = 0;
    reader->page.next.size = 0;
    reader->page.end = false;
    reader->next_record = 0;
    reader->given = 0;
    return SC_OK;
}

/* Damage that was met at opening. A damaged value is told again by its key, if that still has it.
 */
static enum sc_import_result give_finding(struct sc_import_reader *reader,
                                          struct sc_import_record *record, char *why)
{
    const struct finding *finding = &reader->findings[reader->next_finding++];
    *record = (struct sc_import_record){
        .number = finding->offset, .file = finding->file, .kind = SC_IMPORT_STRETCH};
    sc_why(why, "%s", finding->text);
    return SC_IMPORT_LEFT_OUT;
}

static enum sc_import_result give_record(struct sc_import_reader *reader,
                                         struct sc_import_record *record, char *why)
{
    struct sc_snapshot_record found;
    sc_snapshot_read(&reader->page, reader->next_record++, &found);
    reader->given++;
    *record = (struct sc_import_record){.key = found.key};
    if (found.status != SC_OK) {
        record->kind = found.status == SC_CORRUPT ? SC_IMPORT_DAMAGED : SC_IMPORT_LOST;
        sc_why(why, "%s", found.why);
        return SC_IMPORT_LEFT_OUT;
    }
    record->value = found.value;
    record->expires_ms = found.expires_ms;
    return SC_IMPORT_RECORD;
}

static enum sc_import_result source_next(struct sc_import_reader *reader,
                                         struct sc_import_record *record, char *why)
{
    if (reader->store == NULL) {
        if (reader->next_shard == reader->list->shard_count) {
            return SC_IMPORT_END;
        }
        return open_shard(reader, why) == SC_OK ? SC_IMPORT_BUSY : SC_IMPORT_FAILED;
    }
    if (reader->next_finding < reader->finding_count) {
        return give_finding(reader, record, why);
    }
    if (reader->next_record < reader->page.count) {
        return give_record(reader, record, why);
    }
    if (reader->page.end) {
        close_shard(reader);
        return SC_IMPORT_BUSY;
    }
    enum sc_status status =
        sc_snapshot_collect(reader->snapshot, sc_buf_slice(&reader->page.next), &reader->page, why);
    sc_snapshot_prefetch(&reader->page);
    reader->next_record = 0;
    return status == SC_OK ? SC_IMPORT_BUSY : SC_IMPORT_FAILED;
}

static void source_position(const struct sc_import_reader *reader, uint64_t *at, uint64_t *size)
{
    const struct sc_backup_list_shard *shard = reader->shard;
    *at = reader->done;
    if (reader->store != NULL && shard->keys > 0) {
        uint64_t given = reader->given < shard->keys ? reader->given : shard->keys;
        *at += (uint64_t)((double)shard_bytes(shard) * (double)given / (double)shard->keys);
    }
    *size = reader->list->bytes;
}

const struct sc_import_format sc_restore_source = {
    .name = "backup",
    .unit = "offset",
    .next = source_next,
    .position = source_position,
    .close = source_close,
};
