#include "shard/durable.h"

#include "common/bytes.h"
#include "shard/bus.h"
#include "shard/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC "SCASKDUR"
#define FORMAT 2u
#define COPY_SIZE 80u
#define CHECKED_SIZE 72u
#define CHECKED_SIZE_1 64u /* in format version 1 */
#define FILE_SIZE (SC_DURABLE_SECOND + COPY_SIZE)

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Zeros when the kernel does not tell. */
static void read_boot_id(uint8_t id[16])
{
    char text[64];
    ssize_t got = -1;
    memset(id, 0, 16);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        got = read(fd, text, sizeof text);
        (void)close(fd);
    }
    size_t digits = 0;
    for (ssize_t i = 0; i < got && digits < 32; i++) {
        int digit = hex_digit(text[i]);
        if (digit >= 0) {
            id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | digit);
            digits++;
        }
    }
}

static bool boot_known(const uint8_t id[16])
{
    static const uint8_t unknown[16];
    return memcmp(id, unknown, sizeof unknown) != 0;
}

/* ---- Copies ---- */

/* Whether a copy is whole, and its sequence. */
static bool is_good(const uint8_t *copy, size_t size, uint64_t *sequence)
{
    if (size < CHECKED_SIZE_1 + 8 || memcmp(copy, MAGIC, 8) != 0) {
        return false;
    }
    if (sc_le32_get(copy + 8) == 1) {
        *sequence = 0;
        return sc_le64_get(copy + CHECKED_SIZE_1) == XXH3_64bits(copy, CHECKED_SIZE_1);
    }
    *sequence = size < COPY_SIZE ? 0 : sc_le64_get(copy + 64);
    return sc_le32_get(copy + 8) == FORMAT && size >= COPY_SIZE &&
           sc_le64_get(copy + CHECKED_SIZE) == XXH3_64bits(copy, CHECKED_SIZE);
}

static unsigned place_of(unsigned copy)
{
    return copy == 0 ? 0 : SC_DURABLE_SECOND;
}

/* Which of the two counts; false: neither. */
static bool newest_copy(const uint8_t *bytes, size_t size, unsigned *newest, uint64_t *sequence)
{
    bool found = false;
    *newest = 0;
    *sequence = 0;
    for (unsigned i = 0; i < 2 && size > place_of(i); i++) {
        uint64_t own;
        if (is_good(bytes + place_of(i), size - place_of(i), &own) && (!found || own > *sequence)) {
            *newest = i;
            *sequence = own;
            found = true;
        }
    }
    return found;
}

enum sc_status sc_durable_load(const struct sc_files *files, struct sc_durable_mark *mark,
                               bool *damaged, char *why)
{
    uint8_t bytes[FILE_SIZE];
    *mark = (struct sc_durable_mark){0};
    *damaged = false;
    int fd = sc_io_open(files->dir_fd, SC_FILES_DURABLE, O_RDONLY);
    if (fd < 0) {
        return errno == ENOENT ? SC_OK : sc_files_fail(files, "open", SC_FILES_DURABLE, why);
    }
    ssize_t got = sc_io_read(fd, bytes, sizeof bytes, 0);
    int error = errno;
    (void)close(fd);
    if (got < 0) {
        errno = error;
        return sc_files_fail(files, "read", SC_FILES_DURABLE, why);
    }
    unsigned newest;
    uint64_t sequence;
    if (!newest_copy(bytes, (size_t)got, &newest, &sequence)) {
        *damaged = got > 0; /* else created, and then nothing was committed */
        return SC_OK;
    }
    const uint8_t *copy = bytes + place_of(newest);
    uint8_t boot_id[16];
    read_boot_id(boot_id);
    bool same_boot = boot_known(boot_id) && memcmp(boot_id, copy + 48, sizeof boot_id) == 0;
    const uint8_t *counts = copy + (same_boot ? 32 : 16);
    *mark = (struct sc_durable_mark){sc_le64_get(counts), sc_le64_get(counts + 8)};
    return SC_OK;
}

/* ---- Writing ---- */

/* Maps the file, which has its full size. */
static void map(struct sc_durable *durable)
{
    sc_bus_init();
    void *base = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, durable->fd, 0);
    durable->broken = base == MAP_FAILED;
    durable->base = base == MAP_FAILED ? NULL : base;
}

static void unmap(struct sc_durable *durable)
{
    if (durable->base != NULL) {
        (void)munmap(durable->base, FILE_SIZE);
    }
    durable->base = NULL;
}

enum sc_status sc_durable_open(struct sc_durable *durable, const struct sc_files *files, char *why)
{
    uint8_t bytes[FILE_SIZE];
    *durable = (struct sc_durable){.fd = -1};
    int fd = sc_io_open(files->dir_fd, SC_FILES_DURABLE, O_RDWR | O_CREAT);
    ssize_t got = fd < 0 ? -1 : sc_io_read(fd, bytes, sizeof bytes, 0);
    if (got < 0) {
        enum sc_status status = sc_files_fail(files, "open", SC_FILES_DURABLE, why);
        if (fd >= 0) {
            (void)close(fd);
        }
        return status;
    }
    durable->fd = fd;
    read_boot_id(durable->boot_id);
    if (!newest_copy(bytes, (size_t)got, &durable->newest, &durable->sequence)) {
        durable->newest = 1; /* the first one is written first */
    }
    if (got == (ssize_t)sizeof bytes) {
        map(durable);
    }
    return SC_OK;
}

void sc_durable_close(struct sc_durable *durable)
{
    unmap(durable);
    if (durable->fd > 0) {
        (void)close(durable->fd);
    }
    *durable = (struct sc_durable){0};
}

void sc_durable_sync(const struct sc_durable *durable)
{
    (void)sc_io_fdatasync(durable->fd);
}

/* Replaces the older copy. */
static bool put_copy(struct sc_durable *durable, unsigned place, const uint8_t copy[COPY_SIZE])
{
    if (durable->base != NULL && !sc_io_may_fail(SC_IO_WRITE)) {
        if (sc_bus_write(durable->base + place, copy, COPY_SIZE)) {
            return true;
        }
        unmap(durable);
        durable->broken = true;
    }
    if (sc_io_write(durable->fd, copy, COPY_SIZE, place) != 0) {
        return false;
    }
    if (durable->base == NULL && !durable->broken && place > 0) {
        map(durable); /* from now on there are both */
    }
    return true;
}

bool sc_durable_write(struct sc_durable *durable, struct sc_durable_mark synced,
                      struct sc_durable_mark acknowledged)
{
    uint8_t copy[COPY_SIZE] = {0};
    memcpy(copy, MAGIC, 8);
    sc_le32_put(copy + 8, FORMAT);
    sc_le64_put(copy + 16, synced.file);
    sc_le64_put(copy + 24, synced.offset);
    sc_le64_put(copy + 32, acknowledged.file);
    sc_le64_put(copy + 40, acknowledged.offset);
    memcpy(copy + 48, durable->boot_id, 16);
    sc_le64_put(copy + 64, durable->sequence + 1);
    sc_le64_put(copy + CHECKED_SIZE, XXH3_64bits(copy, CHECKED_SIZE));
    unsigned older = 1 - durable->newest;
    if (!put_copy(durable, place_of(older), copy)) {
        return false;
    }
    durable->newest = older;
    durable->sequence++;
    return true;
}
