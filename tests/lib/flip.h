/* Damage below the seals, as a bad device makes it: one bit of a stored value, or of a key. Opens
 * LMDB itself, so not in a process that has the store open: fork first. */
#ifndef TESTS_LIB_FLIP_H
#define TESTS_LIB_FLIP_H

#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* 0, or LMDB's error. `bit` counts from the value's first; beyond the end it goes on from the beginning. */
static inline int flip_value(const char *directory, const char *table, struct bytes key, size_t bit)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi handle;
    MDB_val k = {key.size, (void *)key.data}, v;
    int code = mdb_env_create(&env);
    if (code == 0) code = mdb_env_set_maxdbs(env, 64);
    if (code == 0) code = mdb_env_set_mapsize(env, (size_t)4 << 30);
    if (code == 0) code = mdb_env_open(env, directory, 0, 0600);
    if (code == 0) code = mdb_txn_begin(env, NULL, 0, &txn);
    if (code == 0) code = mdb_dbi_open(txn, table, 0, &handle);
    if (code == 0) code = mdb_get(txn, handle, &k, &v);
    if (code == 0) {
        uint8_t *copy = malloc(v.mv_size);
        memcpy(copy, v.mv_data, v.mv_size);
        copy[bit / 8 % v.mv_size] ^= (uint8_t)(1u << bit % 8);
        v.mv_data = copy;
        code = mdb_put(txn, handle, &k, &v, 0);
        free(copy);
    }
    if (code == 0) {
        code = mdb_txn_commit(txn);
        txn = NULL;
    }
    if (txn) mdb_txn_abort(txn);
    if (env) mdb_env_close(env);
    return code;
}

/* The same of the key, in its page on the disk: the row stays where it lies, so that the page may be out of order. */
static inline int flip_key(const char *directory, const char *table, struct bytes key, size_t bit)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_dbi handle;
    MDB_val k = {key.size, (void *)key.data}, v;
    int code = mdb_env_create(&env);
    if (code == 0) code = mdb_env_set_maxdbs(env, 64);
    if (code == 0) code = mdb_env_set_mapsize(env, (size_t)4 << 30);
    if (code == 0) code = mdb_env_open(env, directory, MDB_WRITEMAP, 0600); /* so that its pages can be written to */
    if (code == 0) code = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    if (code == 0) code = mdb_dbi_open(txn, table, 0, &handle);
    if (code == 0) code = mdb_cursor_open(txn, handle, &cursor);
    if (code == 0) code = mdb_cursor_get(cursor, &k, &v, MDB_SET_KEY);
    if (code == 0) ((uint8_t *)k.mv_data)[bit / 8 % k.mv_size] ^= (uint8_t)(1u << bit % 8);
    if (cursor) mdb_cursor_close(cursor);
    if (txn) mdb_txn_abort(txn);
    if (env) mdb_env_close(env);
    return code;
}

#endif
