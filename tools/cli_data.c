/* The commands that concern single keys. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/json.h"
#include "common/limits.h"
#include "common/msg.h"
#include "tools/cli_commands.h"
#include "tools/cli_output.h"
#include "tools/cli_text.h"

/* More than any store takes: larger files are not read to their end in vain. */
#define INPUT_MAX ((size_t)1 << 30)

/* ---- Pieces that the commands share ---- */

static int usage(struct sc_cli *cli, const char *command, const char *why)
{
    return sc_cli_complain(cli, SC_CLI_USAGE, "%s: %s", command, why);
}

/* Says that a key is not there. */
static int absent(struct sc_cli *cli, struct sc_slice key)
{
    struct sc_buf json = {0};
    sc_json_write_key(key, &json);
    sc_cli_complain(cli, SC_CLI_ABSENT, "there is no key %.*s", (int)json.size,
                    (const char *)json.data);
    sc_buf_fini(&json);
    return SC_CLI_ABSENT;
}

/* Sends [op, key] and gives the reply when it is ok; an absent key is told as that. */
static int ask_key(struct sc_cli *cli, enum sc_op op, const char *word, struct sc_cli_reply *reply)
{
    char why[SC_WHY_SIZE];
    struct sc_buf key = {0};
    struct sc_buf request = {0};
    int code = SC_CLI_USAGE;
    *reply = (struct sc_cli_reply){0};
    if (!sc_cli_text_key(word, &key, why)) {
        usage(cli, sc_op_name(op), why);
        goto out;
    }
    sc_msg_put_key_request(&request, op, sc_buf_slice(&key));
    code = sc_cli_call(cli, sc_buf_slice(&request), reply);
    if (code == SC_CLI_DONE && reply->status != SC_OK) {
        code = reply->status == SC_NOTFOUND ? absent(cli, sc_buf_slice(&key))
                                            : sc_cli_refused(cli, sc_op_name(op), reply);
        sc_cli_reply_fini(reply);
    }
out:
    sc_buf_fini(&request);
    sc_buf_fini(&key);
    return code;
}

/* Prints the one result of a reply as JSON and frees the reply. */
static int print_result(struct sc_cli *cli, const char *command, struct sc_cli_reply *reply)
{
    struct sc_slice value = {NULL, 0};
    int code = SC_CLI_DONE;
    if (!sc_mp_skip(&reply->result, &value) || !sc_cli_output_json(cli, value)) {
        code = sc_cli_garbled(cli, command);
    }
    sc_cli_reply_fini(reply);
    return code;
}

/* Sends a request whose one result is printed. A key that is not there is told as that. */
static int ask_and_print(struct sc_cli *cli, const char *command, const struct sc_buf *request,
                         struct sc_slice key)
{
    struct sc_cli_reply reply;
    int code = sc_cli_call(cli, sc_buf_slice(request), &reply);
    if (code != SC_CLI_DONE) {
        return code;
    }
    if (reply.status == SC_OK) {
        return print_result(cli, command, &reply);
    }
    code = reply.status == SC_NOTFOUND ? absent(cli, key) : sc_cli_refused(cli, command, &reply);
    sc_cli_reply_fini(&reply);
    return code;
}

/* ---- get, exists, meta ---- */

int sc_cli_data_get(struct sc_cli *cli, const struct sc_cli_args *args)
{
    struct sc_cli_reply reply;
    int code = ask_key(cli, SC_OP_GET, args->words[0], &reply);
    if (code != SC_CLI_DONE) {
        return code;
    }
    if (!cli->raw) {
        return print_result(cli, "get", &reply);
    }
    struct sc_slice value = {NULL, 0};
    if (!sc_mp_skip(&reply.result, &value) || !sc_cli_output_raw(cli, value, cli->out_terminal)) {
        code = sc_cli_garbled(cli, "get");
    }
    sc_cli_reply_fini(&reply);
    return code;
}

int sc_cli_data_meta(struct sc_cli *cli, const struct sc_cli_args *args)
{
    struct sc_cli_reply reply;
    int code = ask_key(cli, SC_OP_META, args->words[0], &reply);
    return code == SC_CLI_DONE ? print_result(cli, "meta", &reply) : code;
}

int sc_cli_data_exists(struct sc_cli *cli, const struct sc_cli_args *args)
{
    struct sc_cli_reply reply;
    bool exists = false;
    int code = ask_key(cli, SC_OP_EXISTS, args->words[0], &reply);
    if (code != SC_CLI_DONE) {
        return code;
    }
    if (!sc_mp_bool(&reply.result, &exists)) {
        code = sc_cli_garbled(cli, "exists");
    } else {
        fputs(exists ? "true\n" : "false\n", cli->out);
        code = exists ? SC_CLI_DONE : SC_CLI_ABSENT;
    }
    sc_cli_reply_fini(&reply);
    return code;
}

/* ---- put ---- */

/* Reads a file to its end; "-" is standard input. */
static bool read_file(const char *path, struct sc_buf *text, char *why)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = -1;
    while (fd >= 0) {
        got = read(fd, sc_buf_reserve(text, 65536), 65536);
        if (got > 0) {
            text->size += (size_t)got;
        }
        if (got == 0 || (got < 0 && errno != EINTR) || text->size > INPUT_MAX) {
            break;
        }
    }
    if (got < 0) {
        sc_fail(why, SC_IO, "cannot read %s: %s", path, strerror(errno));
    } else if (text->size > INPUT_MAX) {
        sc_fail(why, SC_TOOLARGE, "%s is larger than any value can be", path);
    }
    if (fd >= 0 && !is_stdin) {
        close(fd);
    }
    return got == 0;
}

static bool parse_put_options(const struct sc_cli_args *args, struct sc_msg_write_options *options,
                              char *why)
{
    const char *ttl = sc_cli_args_option(args, "ttl");
    const char *version = sc_cli_args_option(args, "if-version");
    *options = (struct sc_msg_write_options){
        .has_ttl = ttl != NULL,
        .has_if_version = version != NULL,
        .has_sync = sc_cli_args_flag(args, "sync") || sc_cli_args_flag(args, "no-sync"),
        .sync = sc_cli_args_flag(args, "sync"),
    };
    if (ttl != NULL && !sc_cli_args_seconds(ttl, SC_TTL_MS_MAX, &options->ttl_ms)) {
        sc_fail(why, SC_BADREQUEST, "--ttl %.60s is no number of seconds from 0.001 to 3155760000",
                ttl);
        return false;
    }
    if (version != NULL && !sc_cli_args_uint(version, 0, UINT64_MAX, &options->if_version)) {
        sc_fail(why, SC_BADREQUEST, "--if-version %.60s is no version: a number, as put prints it",
                version);
        return false;
    }
    if (options->sync && sc_cli_args_flag(args, "no-sync")) {
        sc_fail(why, SC_BADREQUEST, "--sync and --no-sync exclude each other");
        return false;
    }
    return true;
}

/* The value of a put: the second word, or what a file has. */
static bool take_value(const struct sc_cli *cli, const struct sc_cli_args *args,
                       struct sc_buf *value, char *why)
{
    const char *path = sc_cli_args_option(args, "file");
    if ((path != NULL) == (args->count == 2)) {
        sc_fail(why, SC_BADREQUEST, "give one VALUE, or - or --file PATH to read it from");
        return false;
    }
    if (path == NULL && strcmp(args->words[1], "-") != 0) {
        return sc_cli_text_value(sc_slice_str(args->words[1]), cli->raw, value, why);
    }
    struct sc_buf text = {0};
    bool good = read_file(path != NULL ? path : "-", &text, why) &&
                sc_cli_text_value(sc_buf_slice(&text), cli->raw, value, why);
    sc_buf_fini(&text);
    return good;
}

int sc_cli_data_put(struct sc_cli *cli, const struct sc_cli_args *args)
{
    char why[SC_WHY_SIZE] = "";
    struct sc_msg_write_options options;
    struct sc_buf key = {0};
    struct sc_buf value = {0};
    struct sc_buf request = {0};
    int code = SC_CLI_USAGE;
    if (!parse_put_options(args, &options, why) || !sc_cli_text_key(args->words[0], &key, why) ||
        !take_value(cli, args, &value, why)) {
        usage(cli, "put", why);
        goto out;
    }
    sc_msg_put_put(&request, sc_buf_slice(&key), sc_buf_slice(&value), &options);
    code = ask_and_print(cli, "put", &request, sc_buf_slice(&key));
out:
    sc_buf_fini(&request);
    sc_buf_fini(&value);
    sc_buf_fini(&key);
    return code;
}

/* ---- incr, touch ---- */

int sc_cli_data_incr(struct sc_cli *cli, const struct sc_cli_args *args)
{
    char why[SC_WHY_SIZE] = "";
    int64_t delta = 1;
    struct sc_buf key = {0};
    struct sc_buf request = {0};
    int code = SC_CLI_USAGE;
    if (args->count == 2 && !sc_cli_args_int(args->words[1], &delta)) {
        sc_cli_complain(cli, code, "incr: DELTA %.60s is no integer of 64 bits", args->words[1]);
    } else if (!sc_cli_text_key(args->words[0], &key, why)) {
        usage(cli, "incr", why);
    } else {
        sc_msg_put_incr(&request, sc_buf_slice(&key), delta);
        code = ask_and_print(cli, "incr", &request, sc_buf_slice(&key));
    }
    sc_buf_fini(&request);
    sc_buf_fini(&key);
    return code;
}

int sc_cli_data_touch(struct sc_cli *cli, const struct sc_cli_args *args)
{
    char why[SC_WHY_SIZE] = "";
    bool none = sc_cli_args_flag(args, "none");
    uint64_t ttl_ms = 0;
    struct sc_buf key = {0};
    struct sc_buf request = {0};
    int code = SC_CLI_USAGE;
    if (none == (args->count == 2)) {
        usage(cli, "touch", "give either SECONDS or --none");
    } else if (!none && !sc_cli_args_seconds(args->words[1], SC_TTL_MS_MAX, &ttl_ms)) {
        sc_cli_complain(cli, code, "touch: %.60s is no number of seconds from 0.001 to 3155760000",
                        args->words[1]);
    } else if (!sc_cli_text_key(args->words[0], &key, why)) {
        usage(cli, "touch", why);
    } else {
        sc_msg_put_touch(&request, sc_buf_slice(&key), none ? NULL : &ttl_ms);
        code = ask_and_print(cli, "touch", &request, sc_buf_slice(&key));
    }
    sc_buf_fini(&request);
    sc_buf_fini(&key);
    return code;
}

/* ---- mget, del: several keys in one request ---- */

/* Writes [op, [key...]]; `keys` gets the keys' bytes. */
static bool put_keys(struct sc_cli *cli, enum sc_op op, const struct sc_cli_args *args,
                     struct sc_buf *keys, struct sc_buf *request)
{
    char why[SC_WHY_SIZE];
    sc_msg_put_op(request, op, 1);
    sc_mp_put_array(request, (uint32_t)args->count);
    for (size_t i = 0; i < args->count; i++) {
        if (!sc_cli_text_key(args->words[i], &keys[i], why)) {
            usage(cli, sc_op_name(op), why);
            return false;
        }
        sc_mp_put_bin(request, sc_buf_slice(&keys[i]));
    }
    return true;
}

/* Asks for several keys: on SC_CLI_DONE the result stands at an array with an item for each. */
static int ask_keys(struct sc_cli *cli, enum sc_op op, const struct sc_cli_args *args,
                    struct sc_buf *keys, struct sc_cli_reply *reply)
{
    struct sc_buf request = {0};
    int code = SC_CLI_USAGE;
    if (put_keys(cli, op, args, keys, &request)) {
        code = sc_cli_ask(cli, sc_op_name(op), sc_buf_slice(&request), reply);
    }
    sc_buf_fini(&request);
    uint32_t count = 0;
    if (code == SC_CLI_DONE && (!sc_mp_array(&reply->result, &count) || count != args->count)) {
        sc_cli_reply_fini(reply);
        code = sc_cli_garbled(cli, sc_op_name(op));
    }
    return code;
}

/* Reads the next item of a reply, itself a reply. */
static bool next_item(struct sc_cli_reply *reply, struct sc_msg_reply *item)
{
    struct sc_slice raw = {NULL, 0};
    return sc_mp_skip(&reply->result, &raw) && sc_msg_parse_reply(raw, item);
}

static void free_keys(struct sc_buf *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sc_buf_fini(&keys[i]);
    }
    free(keys);
}

static void append_text(struct sc_buf *out, const char *text)
{
    sc_buf_append(out, text, strlen(text));
}

/* Prints the line of one key of mget and returns the exit status for it. */
static int print_item(struct sc_cli *cli, struct sc_slice key, struct sc_msg_reply *item)
{
    struct sc_buf line = {0};
    struct sc_slice value = {NULL, 0};
    int code = SC_CLI_DONE;
    append_text(&line, "{\"key\":");
    sc_json_write_key(key, &line);
    if (item->status == SC_NOTFOUND) {
        append_text(&line, ",\"missing\":true}");
        code = SC_CLI_ABSENT;
    } else if (item->status == SC_OK && sc_mp_skip(&item->result, &value)) {
        append_text(&line, ",\"value\":");
        code = sc_json_write(value, &line, NULL) == SC_OK ? code : sc_cli_garbled(cli, "mget");
        append_text(&line, "}");
    } else {
        char number[32];
        struct sc_buf why = {0};
        snprintf(number, sizeof number, ",\"status\":%d,\"error\":", item->status);
        append_text(&line, number);
        sc_mp_put_str(&why, item->why);
        sc_json_write(sc_buf_slice(&why), &line, NULL);
        append_text(&line, "}");
        sc_buf_fini(&why);
        code = SC_CLI_ERROR;
    }
    sc_cli_output_line(cli, &line);
    sc_buf_fini(&line);
    return code;
}

/* The exit status of several: an error counts more than an absent key. */
static int worse(int a, int b)
{
    return a > b ? a : b;
}

int sc_cli_data_mget(struct sc_cli *cli, const struct sc_cli_args *args)
{
    if (cli->raw) {
        return usage(cli, "mget", "--raw cannot tell the values apart: leave it out, or use get");
    }
    struct sc_buf *keys = sc_calloc(args->count, sizeof *keys);
    struct sc_cli_reply reply = {0};
    int code = ask_keys(cli, SC_OP_MGET, args, keys, &reply);
    size_t failed = 0;
    for (size_t i = 0; code <= SC_CLI_ERROR && reply.body.data != NULL && i < args->count; i++) {
        struct sc_msg_reply item;
        if (!next_item(&reply, &item)) {
            code = sc_cli_garbled(cli, "mget");
            break;
        }
        int own = print_item(cli, sc_buf_slice(&keys[i]), &item);
        failed += own == SC_CLI_ERROR;
        code = worse(code, own);
    }
    if (failed > 0) {
        sc_cli_complain(cli, code, "mget: %zu of %zu keys could not be read; their lines say why",
                        failed, args->count);
    }
    sc_cli_reply_fini(&reply);
    free_keys(keys, args->count);
    return code;
}

/* del of one key with --if-version. */
static int del_if_version(struct sc_cli *cli, const struct sc_cli_args *args, const char *version)
{
    char why[SC_WHY_SIZE] = "";
    struct sc_msg_write_options options = {.has_if_version = true};
    struct sc_buf key = {0};
    struct sc_buf request = {0};
    struct sc_cli_reply reply = {0};
    bool existed = false;
    int code = SC_CLI_USAGE;
    if (args->count != 1 || !sc_cli_args_uint(version, 0, UINT64_MAX, &options.if_version)) {
        return usage(cli, "del", "--if-version needs the number of a version, and one key");
    }
    if (!sc_cli_text_key(args->words[0], &key, why)) {
        return usage(cli, "del", why);
    }
    sc_msg_put_del(&request, sc_buf_slice(&key), &options);
    code = sc_cli_ask(cli, "del", sc_buf_slice(&request), &reply);
    if (code == SC_CLI_DONE) {
        if (sc_mp_bool(&reply.result, &existed)) {
            fprintf(cli->out, "%d\n", existed);
        } else {
            code = sc_cli_garbled(cli, "del");
        }
    }
    sc_cli_reply_fini(&reply);
    sc_buf_fini(&request);
    sc_buf_fini(&key);
    return code;
}

/* Counts the keys that were there; complains of those that could not be removed. */
static int count_removed(struct sc_cli *cli, const struct sc_cli_args *args,
                         struct sc_cli_reply *reply, size_t *removed)
{
    int code = SC_CLI_DONE;
    for (size_t i = 0; i < args->count; i++) {
        struct sc_msg_reply item;
        bool existed = false;
        if (!next_item(reply, &item) ||
            (item.status == SC_OK && !sc_mp_bool(&item.result, &existed))) {
            return sc_cli_garbled(cli, "del");
        }
        *removed += existed;
        if (item.status != SC_OK) {
            code =
                sc_cli_complain(cli, SC_CLI_ERROR, "del %s: %.*s (status %d, %s)%s", args->words[i],
                                (int)item.why.size, (const char *)item.why.data, item.status,
                                sc_status_str(item.status), sc_cli_advice(item.status));
        }
    }
    return code;
}

int sc_cli_data_del(struct sc_cli *cli, const struct sc_cli_args *args)
{
    const char *version = sc_cli_args_option(args, "if-version");
    if (version != NULL) {
        return del_if_version(cli, args, version);
    }
    struct sc_buf *keys = sc_calloc(args->count, sizeof *keys);
    struct sc_cli_reply reply = {0};
    size_t removed = 0;
    int code = ask_keys(cli, SC_OP_MDEL, args, keys, &reply);
    if (code == SC_CLI_DONE) {
        code = count_removed(cli, args, &reply, &removed);
        fprintf(cli->out, "%zu\n", removed);
    }
    sc_cli_reply_fini(&reply);
    free_keys(keys, args->count);
    return code;
}
