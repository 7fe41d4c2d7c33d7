#include "shard/horizon.h"

#include "common/bytes.h"
#include "shard/io.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC "SCASKHOR"
#define SIZE 24u
#define CHECKED_SIZE 16u

uint64_t sc_horizon_load(const struct sc_files *files)
{
    uint8_t bytes[SIZE];
    int fd = sc_io_open(files->dir_fd, SC_FILES_HORIZON, O_RDONLY);
    if (fd < 0) {
        return 0;
    }
    ssize_t got = sc_io_read(fd, bytes, sizeof bytes, 0);
    (void)close(fd);
    bool good = got == (ssize_t)sizeof bytes && memcmp(bytes, MAGIC, 8) == 0 &&
                sc_le64_get(bytes + CHECKED_SIZE) == XXH3_64bits(bytes, CHECKED_SIZE);
    return good ? sc_le64_get(bytes + 8) : 0;
}

void sc_horizon_advance(struct sc_horizon *horizon, const struct sc_files *files, uint64_t ms)
{
    if (ms <= horizon->ms) {
        return;
    }
    if (horizon->fd == 0) {
        int fd = sc_io_open(files->dir_fd, SC_FILES_HORIZON, O_WRONLY | O_CREAT);
        if (fd < 0) {
            return;
        }
        horizon->fd = fd;
    }
    uint8_t bytes[SIZE];
    memcpy(bytes, MAGIC, 8);
    sc_le64_put(bytes + 8, ms);
    sc_le64_put(bytes + CHECKED_SIZE, XXH3_64bits(bytes, CHECKED_SIZE));
    if (sc_io_write(horizon->fd, bytes, sizeof bytes, 0) == 0) {
        horizon->ms = ms;
    }
}

void sc_horizon_sync(const struct sc_horizon *horizon)
{
    if (horizon->fd > 0) {
        (void)sc_io_fdatasync(horizon->fd); /* as safe as if it had not been written */
    }
}

void sc_horizon_close(struct sc_horizon *horizon)
{
    if (horizon->fd > 0) {
        (void)close(horizon->fd);
    }
    *horizon = (struct sc_horizon){0};
}
