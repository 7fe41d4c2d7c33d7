#include "shard/durable.h"

#include "common/bytes.h"
#include "shard/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC "SCASKDUR"
#define FORMAT 1u
#define MARK_SIZE 72u
#define CHECKED_SIZE 64u

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

enum sc_status sc_durable_load(const struct sc_files *files, struct sc_durable_mark *mark,
                               bool *damaged, char *why)
{
    uint8_t bytes[MARK_SIZE];
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
    if (got == 0) {
        return SC_OK; /* created, and then nothing was committed */
    }
    if (got != (ssize_t)sizeof bytes || memcmp(bytes, MAGIC, 8) != 0 ||
        sc_le32_get(bytes + 8) != FORMAT ||
        sc_le64_get(bytes + CHECKED_SIZE) != XXH3_64bits(bytes, CHECKED_SIZE)) {
        *damaged = true;
        return SC_OK;
    }
    uint8_t boot_id[16];
    read_boot_id(boot_id);
    bool same_boot = boot_known(boot_id) && memcmp(boot_id, bytes + 48, sizeof boot_id) == 0;
    const uint8_t *counts = bytes + (same_boot ? 32 : 16);
    *mark = (struct sc_durable_mark){sc_le64_get(counts), sc_le64_get(counts + 8)};
    return SC_OK;
}

enum sc_status sc_durable_open(struct sc_durable *durable, const struct sc_files *files, char *why)
{
    *durable = (struct sc_durable){.fd = -1};
    int fd = sc_io_open(files->dir_fd, SC_FILES_DURABLE, O_RDWR | O_CREAT);
    if (fd < 0) {
        return sc_files_fail(files, "open", SC_FILES_DURABLE, why);
    }
    durable->fd = fd;
    read_boot_id(durable->boot_id);
    return SC_OK;
}

void sc_durable_close(struct sc_durable *durable)
{
    if (durable->fd > 0) {
        (void)close(durable->fd);
    }
    *durable = (struct sc_durable){0};
}

void sc_durable_sync(const struct sc_durable *durable)
{
    (void)sc_io_fdatasync(durable->fd);
}

bool sc_durable_write(const struct sc_durable *durable, struct sc_durable_mark synced,
                      struct sc_durable_mark acknowledged)
{
    uint8_t bytes[MARK_SIZE] = {0};
    memcpy(bytes, MAGIC, 8);
    sc_le32_put(bytes + 8, FORMAT);
    sc_le64_put(bytes + 16, synced.file);
    sc_le64_put(bytes + 24, synced.offset);
    sc_le64_put(bytes + 32, acknowledged.file);
    sc_le64_put(bytes + 40, acknowledged.offset);
    memcpy(bytes + 48, durable->boot_id, 16);
    sc_le64_put(bytes + CHECKED_SIZE, XXH3_64bits(bytes, CHECKED_SIZE));
    return sc_io_write(durable->fd, bytes, sizeof bytes, 0) == 0;
}
