#include "common/sp_lookup.h"

#include <dirent.h>
#include <netinet/in.h>
#include <nng/nng.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* An address as the system gives it. */
struct end {
    union {
        struct sockaddr_storage storage;
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
    socklen_t size;
};

typedef int name_fn(int fd, struct sockaddr *address, socklen_t *size);

static bool end_of(int fd, name_fn *name, struct end *end)
{
    *end = (struct end){.size = sizeof end->address};
    return name(fd, &end->address.any, &end->size) == 0;
}

/* True when nng means the same address. */
static bool is_end(const struct end *end, const nng_sockaddr *wanted)
{
    switch (wanted->s_family) {
    case NNG_AF_INET:
        return end->address.any.sa_family == AF_INET &&
               end->address.in.sin_port == wanted->s_in.sa_port &&
               end->address.in.sin_addr.s_addr == wanted->s_in.sa_addr;
    case NNG_AF_INET6:
        return end->address.any.sa_family == AF_INET6 &&
               end->address.in6.sin6_port == wanted->s_in6.sa_port &&
               memcmp(&end->address.in6.sin6_addr, wanted->s_in6.sa_addr,
                      sizeof wanted->s_in6.sa_addr) == 0;
    default:
        return false;
    }
}

/* What is looked for: what nng tells of the stream, and the system of each descriptor. */
struct wanted {
    bool ipc;
    nng_sockaddr here, there; /* on tcp */
    uint64_t pid; /* on ipc: the server's. Its address would not do: it may have been renamed since
                     it was bound, and the system tells the old name */
};

static bool is_wanted_tcp(int fd, const struct wanted *wanted)
{
    struct end end;
    return end_of(fd, getpeername, &end) && is_end(&end, &wanted->there) &&
           end_of(fd, getsockname, &end) && is_end(&end, &wanted->here);
}

/* Whoever dials has no name. */
static bool is_wanted_ipc(int fd, const struct wanted *wanted)
{
    struct end end;
    struct ucred peer;
    socklen_t size = sizeof peer;
    return end_of(fd, getsockname, &end) && end.address.any.sa_family == AF_UNIX &&
           end.size == sizeof end.address.any.sa_family &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (uint64_t)peer.pid == wanted->pid;
}

/* The one descriptor that is wanted; -1: none is, or more than one. The right one is always among
 * them, since it stays open meanwhile. */
static int find(DIR *directory, const struct wanted *wanted)
{
    const struct dirent *entry;
    int found = -1;
    while ((entry = readdir(directory)) != NULL) {
        char *end;
        int fd = (int)strtol(entry->d_name, &end, 10);
        bool number = end != entry->d_name && *end == '\0';
        if (!number || !(wanted->ipc ? is_wanted_ipc(fd, wanted) : is_wanted_tcp(fd, wanted))) {
            continue;
        }
        if (found >= 0) {
            return -1;
        }
        found = fd;
    }
    return found;
}

static bool ask_nng(struct nng_stream *stream, struct wanted *wanted)
{
    if (wanted->ipc) {
        return nng_stream_get_uint64(stream, NNG_OPT_IPC_PEER_PID, &wanted->pid) == 0;
    }
    return nng_stream_get_addr(stream, NNG_OPT_LOCADDR, &wanted->here) == 0 &&
           nng_stream_get_addr(stream, NNG_OPT_REMADDR, &wanted->there) == 0;
}

int sc_sp_lookup(struct nng_stream *stream, bool ipc)
{
    struct wanted wanted = {.ipc = ipc};
    DIR *directory = ask_nng(stream, &wanted) ? opendir("/proc/self/fd") : NULL;
    if (directory == NULL) {
        return -1;
    }
    int found = find(directory, &wanted);
    (void)closedir(directory);
    return found;
}
