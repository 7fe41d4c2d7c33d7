/*
 * Measurements of many devices over time.
 *
 *     ./sensor-history record DEVICE TIME VALUE      one measurement
 *     ./sensor-history fill DEVICE COUNT             COUNT made-up ones, a minute apart
 *     ./sensor-history show DEVICE FROM TO           those with FROM <= time < TO, oldest first
 *
 * A key is "DEVICE:TIME", the time with leading zeros. Shardcask spreads keys over its shards by
 * their hash, so it does not keep them in order; but a scan can be asked for a prefix, here
 * "DEVICE:", and returns just the keys of one device. Sorting is left to the program.
 */
#include <shardcask.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIME_DIGITS 12
#define BATCH 500

struct reading {
    uint64_t time;
    double value;
};

static int fail(const char *doing)
{
    fprintf(stderr, "sensor-history: %s: %s\n", doing, shardcask_error());
    return 1;
}

static bool parse_time(const char *text, uint64_t *time)
{
    char *end;
    *time = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && *time < 1000000000000u;
}

/* ---- Writing ---- */

static int make_key(char *key, size_t size, const char *device, uint64_t time)
{
    return snprintf(key, size, "%s:%0*" PRIu64, device, TIME_DIGITS, time);
}

static int record(struct shardcask *db, const char *device, uint64_t time, const char *value)
{
    char key[128];
    make_key(key, sizeof key, device, time);
    /* JSON becomes msgpack: a number in the text is a number in the store. */
    if (shardcask_put_json(db, key, value, NULL, NULL) != SHARDCASK_OK) {
        return fail("cannot record");
    }
    return 0;
}

/* Writes `count` readings (at most BATCH) in one message, which is far faster than one by one. */
static int fill_batch(struct shardcask *db, const char *device, uint64_t first, size_t count)
{
    static char keys[BATCH][128];
    static struct shardcask_value values[BATCH];
    static struct shardcask_op ops[BATCH];
    for (size_t i = 0; i < count; i++) {
        char number[32];
        int size = snprintf(number, sizeof number, "%.1f", 20.0 + (double)((first + i) % 50) / 10);
        shardcask_value_set_json(&values[i], number, (size_t)size);
        ops[i].key = keys[i];
        ops[i].key_size = (size_t)make_key(keys[i], sizeof keys[i], device, (first + i) * 60);
        ops[i].value = values[i].data;
        ops[i].value_size = values[i].size;
    }
    int status = shardcask_mput(db, ops, count);
    for (size_t i = 0; i < count; i++) {
        /* Each operation of a batch succeeds or fails by itself. */
        if (status == SHARDCASK_OK && ops[i].status != SHARDCASK_OK) {
            fprintf(stderr, "sensor-history: %s: %s\n", keys[i],
                    shardcask_status_text(ops[i].status));
            status = ops[i].status;
        }
        shardcask_op_clear(&ops[i]);
        shardcask_value_free(&values[i]);
    }
    return status == SHARDCASK_OK ? 0 : fail("cannot fill");
}

static int fill(struct shardcask *db, const char *device, uint64_t count)
{
    for (uint64_t at = 0; at < count; at += BATCH) {
        size_t size = count - at < BATCH ? (size_t)(count - at) : BATCH;
        if (fill_batch(db, device, at, size) != 0) {
            return 1;
        }
    }
    return 0;
}

/* ---- Reading ---- */

static int by_time(const void *a, const void *b)
{
    const struct reading *left = a;
    const struct reading *right = b;
    return left->time < right->time ? -1 : left->time > right->time;
}

/* Turns a scanned pair into a reading; false when it is none of ours, or outside the time. */
static bool read_pair(const void *key, size_t key_size, size_t prefix_size, const void *data,
                      size_t size, struct reading *reading)
{
    char time[TIME_DIGITS + 1] = "";
    if (key_size != prefix_size + TIME_DIGITS) {
        return false;
    }
    memcpy(time, (const char *)key + prefix_size, TIME_DIGITS);
    /* A value that was scanned can be looked at in place: it is not freed. */
    struct shardcask_value value = {(void *)data, size, 0};
    char *json;
    if (!parse_time(time, &reading->time) ||
        shardcask_value_get_json(&value, &json, NULL) != SHARDCASK_OK) {
        return false;
    }
    reading->value = strtod(json, NULL);
    shardcask_free(json);
    return true;
}

static int show(struct shardcask *db, const char *device, uint64_t from, uint64_t to)
{
    char prefix[128];
    struct shardcask_scan *scan;
    struct shardcask_scan_options options = {.prefix = prefix, .values = true};
    options.prefix_size = (size_t)snprintf(prefix, sizeof prefix, "%s:", device);
    if (shardcask_scan_open(db, &options, &scan) != SHARDCASK_OK) {
        return fail("cannot scan");
    }

    struct reading *readings = NULL;
    size_t count = 0;
    const void *key;
    const void *value;
    size_t key_size;
    size_t value_size;
    int status;
    while ((status = shardcask_scan_next(scan, &key, &key_size, &value, &value_size)) ==
           SHARDCASK_OK) {
        struct reading reading;
        if (!read_pair(key, key_size, options.prefix_size, value, value_size, &reading) ||
            reading.time < from || reading.time >= to) {
            continue;
        }
        readings = realloc(readings, (count + 1) * sizeof *readings);
        if (readings == NULL) {
            abort();
        }
        readings[count++] = reading;
    }
    shardcask_scan_close(scan);
    if (status != SHARDCASK_NOTFOUND) { /* NOTFOUND is the end of a scan */
        free(readings);
        return fail("cannot scan");
    }

    if (count > 0) {
        qsort(readings, count, sizeof *readings, by_time);
    }
    for (size_t i = 0; i < count; i++) {
        /* While the store grows a scan may return a key twice: after sorting they are together. */
        if (i == 0 || readings[i].time != readings[i - 1].time) {
            printf("%" PRIu64 " %g\n", readings[i].time, readings[i].value);
        }
    }
    free(readings);
    return 0;
}

/* ---- Command line ---- */

static int usage(void)
{
    fprintf(stderr, "usage: sensor-history record DEVICE TIME VALUE\n"
                    "       sensor-history fill DEVICE COUNT\n"
                    "       sensor-history show DEVICE FROM TO\n"
                    "TIME, FROM, TO: seconds, at most 12 digits. DEVICE: at most 100 bytes, no "
                    "colon.\n"
                    "The store: $SHARDCASK_URL, or tcp://127.0.0.1:7700.\n");
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t first;
    uint64_t second;
    const char *command = argc > 1 ? argv[1] : "";
    bool is_record = strcmp(command, "record") == 0 && argc == 5 && parse_time(argv[3], &first);
    bool is_fill = strcmp(command, "fill") == 0 && argc == 4 && parse_time(argv[3], &first);
    bool is_show = strcmp(command, "show") == 0 && argc == 5 && parse_time(argv[3], &first) &&
                   parse_time(argv[4], &second);
    if (!(is_record || is_fill || is_show) || strlen(argv[2]) > 100 ||
        strchr(argv[2], ':') != NULL) {
        return usage();
    }

    struct shardcask *db;
    char why[SHARDCASK_WHY_SIZE];
    if (shardcask_open(NULL, NULL, &db, why) != SHARDCASK_OK) {
        fprintf(stderr, "sensor-history: %s\n", why);
        return 1;
    }
    int result = is_record ? record(db, argv[2], first, argv[4])
                 : is_fill ? fill(db, argv[2], first)
                           : show(db, argv[2], first, second);
    shardcask_close(db);
    return result;
}
