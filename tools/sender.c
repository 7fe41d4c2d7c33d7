#include "tools/sender.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void carry_out(struct shardcask *db, struct sc_sender_chunk *chunk)
{
    for (size_t i = 0; i < chunk->count; i++) {
        struct shardcask_op *op = &chunk->ops[i];
        op->key = chunk->bytes.data + chunk->offsets[i];
        op->value = (const uint8_t *)op->key + op->key_size;
    }
    chunk->status = shardcask_mput(db, chunk->ops, chunk->count);
    snprintf(chunk->why, sizeof chunk->why, "%s",
             chunk->status == SHARDCASK_OK ? "" : shardcask_error());
}

static void *run(void *argument)
{
    struct sc_sender *sender = argument;
    pthread_mutex_lock(&sender->lock);
    for (;;) {
        while (sender->work == NULL && !sender->stop) {
            pthread_cond_wait(&sender->changed, &sender->lock);
        }
        struct sc_sender_chunk *chunk = sender->work;
        if (chunk == NULL) {
            break;
        }
        pthread_mutex_unlock(&sender->lock);
        carry_out(sender->db, chunk);
        pthread_mutex_lock(&sender->lock);
        sender->work = NULL;
        pthread_cond_broadcast(&sender->changed);
    }
    pthread_mutex_unlock(&sender->lock);
    return NULL;
}

bool sc_sender_start(struct sc_sender *sender, struct shardcask *db)
{
    *sender = (struct sc_sender){.db = db};
    sender->chunks = sc_calloc(2, sizeof *sender->chunks);
    pthread_mutex_init(&sender->lock, NULL);
    pthread_cond_init(&sender->changed, NULL);
    if (pthread_create(&sender->thread, NULL, run, sender) != 0) {
        pthread_cond_destroy(&sender->changed);
        pthread_mutex_destroy(&sender->lock);
        free(sender->chunks);
        return false;
    }
    return true;
}

struct sc_sender_chunk *sc_sender_chunk(struct sc_sender *sender)
{
    return &sender->chunks[sender->filling];
}

void sc_sender_add(struct sc_sender_chunk *chunk, struct sc_slice key, struct sc_slice value,
                   const struct shardcask_write *options, uint64_t number, const char *file)
{
    assert(!sc_sender_full(chunk));
    size_t i = chunk->count++;
    chunk->offsets[i] = chunk->bytes.size;
    chunk->numbers[i] = number;
    chunk->files[i] = file;
    chunk->ops[i] = (struct shardcask_op){
        .kind = SHARDCASK_OP_PUT,
        .key_size = key.size,
        .value_size = value.size,
        .options = *options,
    };
    sc_buf_append_slice(&chunk->bytes, key);
    sc_buf_append_slice(&chunk->bytes, value);
}

bool sc_sender_full(const struct sc_sender_chunk *chunk)
{
    return chunk->count == SC_SENDER_PUTS || chunk->bytes.size >= SC_SENDER_BYTES;
}

/* Waits until nothing is under way; returns the chunk that was, or NULL when none ever was. */
static struct sc_sender_chunk *finish_locked(struct sc_sender *sender)
{
    while (sender->work != NULL) {
        pthread_cond_wait(&sender->changed, &sender->lock);
    }
    struct sc_sender_chunk *other = &sender->chunks[1 - sender->filling];
    return other->count > 0 ? other : NULL;
}

struct sc_sender_chunk *sc_sender_send(struct sc_sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    struct sc_sender_chunk *done = finish_locked(sender);
    sender->work = &sender->chunks[sender->filling];
    sender->filling = 1 - sender->filling;
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
    return done;
}

void sc_sender_empty(struct sc_sender_chunk *chunk)
{
    for (size_t i = 0; i < chunk->count; i++) {
        shardcask_op_clear(&chunk->ops[i]);
    }
    chunk->count = 0;
    sc_buf_reset(&chunk->bytes, SC_SENDER_BYTES * 2);
}

struct sc_sender_chunk *sc_sender_wait(struct sc_sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    struct sc_sender_chunk *done = finish_locked(sender);
    pthread_mutex_unlock(&sender->lock);
    return done;
}

void sc_sender_stop(struct sc_sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    sender->stop = true;
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->lock);
    pthread_join(sender->thread, NULL);
    pthread_cond_destroy(&sender->changed);
    pthread_mutex_destroy(&sender->lock);
    for (size_t i = 0; i < 2; i++) {
        sc_sender_empty(&sender->chunks[i]);
        sc_buf_fini(&sender->chunks[i].bytes);
    }
    free(sender->chunks);
}
