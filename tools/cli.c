#include "tools/cli.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "common/msg.h"

static volatile sig_atomic_t interrupted;

int sc_cli_complain(struct sc_cli *cli, int code, const char *format, ...)
{
    /* What was printed so far comes first when both go to one terminal. */
    fflush(cli->out);
    if (!cli->shell) {
        fputs("shardcask: ", cli->err);
    }
    va_list arguments;
    va_start(arguments, format);
    vfprintf(cli->err, format, arguments);
    va_end(arguments);
    fputc('\n', cli->err);
    return code;
}

const char *sc_cli_url(const struct sc_cli *cli)
{
    const char *environment = getenv("SHARDCASK_URL");
    if (cli->url != NULL) {
        return cli->url;
    }
    return environment != NULL && *environment != '\0' ? environment : SC_URL_DEFAULT;
}

/* A person waits for the answer: long enough for a coordinator that is being restarted. */
#define CONNECT_MS 1000u

int sc_cli_connect(struct sc_cli *cli)
{
    if (cli->db != NULL) {
        return SC_CLI_DONE;
    }
    struct shardcask_options options = {
        .connect_timeout_ms = cli->timeout_ms > 0 ? (uint32_t)cli->timeout_ms : CONNECT_MS,
        .timeout_ms = (uint32_t)cli->timeout_ms,
        .direct = cli->direct,
    };
    char why[SHARDCASK_WHY_SIZE] = "";
    int status = shardcask_open(sc_cli_url(cli), &options, &cli->db, why);
    if (status == SHARDCASK_OK) {
        return SC_CLI_DONE;
    }
    if (status == SHARDCASK_BADREQUEST) {
        return sc_cli_complain(cli, SC_CLI_USAGE, "%s", why);
    }
    return sc_cli_complain(cli, SC_CLI_UNREACHABLE,
                           "cannot reach the store at %s: %s; is its coordinator running? "
                           "`tools/fleet up` starts one, --url names another address",
                           sc_cli_url(cli), why);
}

void sc_cli_disconnect(struct sc_cli *cli)
{
    shardcask_close(cli->db);
    cli->db = NULL;
}

/* Reads the envelope of a reply; false when it is none. */
static bool open_reply(struct sc_cli_reply *reply)
{
    struct sc_msg_reply parsed;
    if (!sc_msg_parse_reply(sc_slice(reply->body.data, reply->body.size), &parsed)) {
        return false;
    }
    reply->status = parsed.status;
    reply->result = parsed.result;
    size_t size = parsed.why.size < SC_WHY_SIZE ? parsed.why.size : SC_WHY_SIZE - 1;
    if (size > 0) {
        memcpy(reply->why, parsed.why.data, size);
    }
    reply->why[size] = '\0';
    return true;
}

int sc_cli_call(struct sc_cli *cli, struct sc_slice request, struct sc_cli_reply *reply)
{
    *reply = (struct sc_cli_reply){0};
    int code = sc_cli_connect(cli);
    if (code != SC_CLI_DONE) {
        return code;
    }
    int status = shardcask_call(cli->db, request.data, request.size, &reply->body);
    if (status == SHARDCASK_OK) {
        if (open_reply(reply)) {
            return SC_CLI_DONE;
        }
        sc_cli_reply_fini(reply);
        return sc_cli_garbled(cli, sc_cli_url(cli));
    }
    const char *why = shardcask_error();
    sc_cli_reply_fini(reply);
    if (status == SHARDCASK_UNAVAILABLE || status == SHARDCASK_UNKNOWN) {
        return sc_cli_complain(cli, SC_CLI_UNREACHABLE, "no answer from the store at %s: %s%s",
                               sc_cli_url(cli), why, sc_cli_advice(status));
    }
    return sc_cli_complain(cli, SC_CLI_ERROR, "%s", why);
}

void sc_cli_reply_fini(struct sc_cli_reply *reply)
{
    shardcask_value_free(&reply->body);
    *reply = (struct sc_cli_reply){0};
}

const char *sc_cli_advice(int status)
{
    switch (status) {
    case SHARDCASK_UNAVAILABLE:
        return "; try again later, `shardcask shards` shows which shards are down";
    case SHARDCASK_UNKNOWN:
        return "; a write may or may not have been applied: read the key before repeating it";
    case SHARDCASK_BUSY:
        return "; try again";
    case SHARDCASK_IO:
    case SHARDCASK_CORRUPT:
        return "; the log of the shard says more";
    default:
        return "";
    }
}

int sc_cli_refused(struct sc_cli *cli, const char *subject, const struct sc_cli_reply *reply)
{
    return sc_cli_complain(cli, SC_CLI_ERROR, "%s: %s (status %d, %s)%s", subject, reply->why,
                           reply->status, sc_status_str(reply->status),
                           sc_cli_advice(reply->status));
}

int sc_cli_garbled(struct sc_cli *cli, const char *subject)
{
    return sc_cli_complain(cli, SC_CLI_ERROR,
                           "%s: the reply makes no sense; is it a shardcask of another version?",
                           subject);
}

int sc_cli_ask(struct sc_cli *cli, const char *subject, struct sc_slice request,
               struct sc_cli_reply *reply)
{
    int code = sc_cli_call(cli, request, reply);
    if (code == SC_CLI_DONE && reply->status != SC_OK) {
        code = sc_cli_refused(cli, subject, reply);
        sc_cli_reply_fini(reply);
    }
    return code;
}

static void mark_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* What is ignored stays so: nohup wants it. */
static void handle(int signal_number, void (*handler)(int))
{
    struct sigaction before;
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    if (sigaction(signal_number, NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
        sigaction(signal_number, &action, NULL);
    }
}

static void catch_signals(void (*at_end)(int))
{
    struct sigaction action = {.sa_handler = mark_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    handle(SIGTERM, at_end);
    handle(SIGHUP, at_end);
    interrupted = 0;
}

void sc_cli_catch_interrupts(void)
{
    catch_signals(SIG_DFL);
}

void sc_cli_catch_ends(void)
{
    catch_signals(mark_interrupt);
}

bool sc_cli_interrupted(void)
{
    bool was = interrupted != 0;
    interrupted = 0;
    return was;
}
