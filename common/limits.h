/*
 * Limits and defaults that more than one module must agree on. Limits of the contract (slots, key
 * size, nesting) never change; the others are defaults of command-line flags.
 */
#ifndef SC_COMMON_LIMITS_H
#define SC_COMMON_LIMITS_H

#include <stdint.h>

#define SC_KEY_MAX 65535u /* bytes in a key, contract */
#define SC_NESTING_MAX 128u /* arrays and maps inside each other, contract */
#define SC_VALUE_MAX_DEFAULT (16u << 20) /* bytes in an encoded value, --max-value */
#define SC_MESSAGE_MAX_DEFAULT (64u << 20) /* bytes in a message body, --max-message */
#define SC_TTL_MS_MAX UINT64_C(3155760000000) /* 100 years, contract */
#define SC_BATCH_ITEMS_MAX (1u << 20) /* items of a multi-key request */
#define SC_SCAN_LIMIT_MAX 10000u /* keys in a scan page, contract */
#define SC_SCAN_LIMIT_DEFAULT 1000u
#define SC_CONNECTIONS_DEFAULT 4096u /* --max-connections */
#define SC_REQUEST_TIMEOUT_MS_DEFAULT 10000u /* --timeout */
#define SC_WEIGHT_MAX 1000000u /* of a shard, contract */
#define SC_WEIGHT_DEFAULT 100u
#define SC_URL_MAX 255u /* bytes in an address */
#define SC_URL_DEFAULT "tcp://127.0.0.1:7700"

#endif
