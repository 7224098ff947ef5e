/* A node's folder as a broken disk or a careless hand leaves it: identity_open of a good one in which one file was
 * changed. It opens as what it was, or is refused in words; a file that carries a seal is never another one.
 *   first byte    which file, by its lowest bits: 0 node.descriptor, 1 storage.key, 2 node.seed, 3 tls.key, 4 tls.crt;
 *                 0x08: only to look, without the lock; 0x10: it is gone; 0x20: the rest is what stands in it;
 *                 0x40: the rest stands in it, sealed by the storage key; else the rest are changes: where (two
 *                 bytes), and how
 *   0x80          the storage key comes as a credential, not from the folder */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "crypto/random.h"
#include "net/certificate.h"
#include "node/identity.h"
#include "tests/lib/folder.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DESCRIPTOR, STORAGE_KEY, SEED, TLS_KEY, CERTIFICATE, FILES };
static const char *const names[FILES] = {"node.descriptor", "storage.key", "node.seed", "tls.key", "tls.crt"};
static const char *const purposes[FILES] = {[SEED] = "consilium/node.seed", [TLS_KEY] = "consilium/tls.key"};

static char folder[FOLDER_PATH];
static struct buffer good[FILES]; /* as they were made */
static struct node_identity made; /* what they say */
static struct config config;

static void remove_folder(void)
{
    identity_close(&made);
    for (int i = 0; i < FILES; i++) buffer_free(&good[i]);
    folder_remove(folder);
}

/* Plain, since nothing here needs to last. */
static void store(int which, struct bytes content)
{
    char path[FOLDER_PATH];
    folder_join(path, folder, names[which]);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0 && write(file, content.data, content.size) == (ssize_t)content.size && close(file) == 0);
}

static void make(void)
{
    struct buffer line = {0};
    struct identity_options options = {.directory = folder, .name = "mercy", .hospital = "Mercy General",
                                       .listen = "127.0.0.1:7401"};
    folder_make(folder, 1);
    CHECK(atexit(remove_folder) == 0);
    config_defaults(&config);
    CHECK(identity_create(&line, &options, NULL) == OK);
    buffer_free(&line);
    for (int i = 0; i < FILES; i++) good[i] = folder_load(folder, names[i]);
    CHECK(identity_open(&made, folder, &config, true, NULL) == OK);
}

/* The file's new content, or false when it is to be gone. */
static bool change(struct buffer *out, uint8_t how, int which, struct bytes in)
{
    if (how & 0x10) return false;
    if (how & 0x20) {
        buffer_append_bytes(out, in);
    } else if (how & 0x40 && purposes[which]) {
        char path[FOLDER_PATH];
        folder_join(path, folder, names[which]);
        CHECK(files_write_sealed(path, made.storage_key, purposes[which], in, NULL) == OK);
        struct buffer sealed = folder_load(folder, names[which]);
        buffer_append_bytes(out, buffer_bytes(&sealed));
        buffer_free(&sealed);
    } else {
        buffer_append_bytes(out, buffer_bytes(&good[which]));
        for (; in.size >= 3; in = bytes_of(in.data + 3, in.size - 3))
            out->data[(in.data[0] | (size_t)in.data[1] << 8) % out->size] ^= in.data[2];
        if (in.size == 1) out->size -= out->size < in.data[0] ? out->size : in.data[0];
        if (in.size == 2) buffer_append(out, in.data, 2);
    }
    return true;
}

static bool same_keys(const struct node_identity *a, const struct node_identity *b)
{
    return memcmp(a->storage_key, b->storage_key, sizeof *a->storage_key) == 0 &&
           memcmp(a->secrets, b->secrets, sizeof *a->secrets) == 0 &&
           memcmp(&a->descriptor.keys, &b->descriptor.keys, sizeof a->descriptor.keys) == 0 &&
           id_equal(&a->descriptor.id, &b->descriptor.id);
}

/* What opened although its file is not what it was. */
static void check_opened(const struct node_identity *id, int which, struct bytes content, uint8_t how)
{
    bool same = bytes_equal(content, buffer_bytes(&good[which]));
    CHECK(same_keys(id, &made)); /* in whatever words its descriptor names them */
    CHECK(which == DESCRIPTOR || strcmp(id->descriptor.name, made.descriptor.name) == 0);
    CHECK(id->key_beside_data == !(how & 0x80));
    if (which == SEED || which == TLS_KEY) /* sealed again, or as it was */
        CHECK(same || how & 0x40);
    struct digest pin; /* of the certificate's key: what else stands in it counts for nobody */
    CHECK(certificate_pin(&pin, buffer_bytes(&id->tls_certificate)) == OK);
    CHECK(digest_equal(&pin, &made.descriptor.tls_pin) && digest_equal(&pin, &id->descriptor.tls_pin));
    CHECK(certificate_check(buffer_bytes(&id->tls_key), buffer_bytes(&id->tls_certificate)) == OK);
}

static void open_changed(int which, bool there, struct bytes content, uint8_t how)
{
    struct node_identity id;
    struct failure why = {0}, again = {0};
    if (how & 0x80) CHECK(setenv("CREDENTIALS_DIRECTORY", folder, 1) == 0);
    enum err e = identity_open(&id, folder, &config, !(how & 0x08), &why);
    if (e == OK) {
        CHECK(there);
        check_opened(&id, which, content, how);
        identity_close(&id);
        fuzz_taken = true;
    } else {
        CHECK(why.code == e && why.text[0] && !id.secrets && !id.storage_key);
        CHECK(e != ERR_CORRUPT); /* a damaged file is named as the node's */
    }
    CHECK(identity_open(&id, folder, &config, true, &again) == e && strcmp(again.text, why.text) == 0);
    if (e == OK) identity_close(&id);
    unsetenv("CREDENTIALS_DIRECTORY");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FOLDER_PATH];
    struct buffer content = {0};
    crypto_init();
    if (!made.secrets) make();
    if (size == 0) return 0;
    int which = (data[0] & 7) % FILES;
    bool there = change(&content, data[0], which, bytes_of(data + 1, size - 1));
    folder_join(path, folder, names[which]);
    if (there) store(which, buffer_bytes(&content));
    else CHECK(unlink(path) == 0);
    open_changed(which, there, buffer_bytes(&content), data[0]);
    if (!there && which == DESCRIPTOR) { /* no node's folder at all */
        struct node_identity id;
        folder_join(path, folder, names[SEED]);
        CHECK(unlink(path) == 0 && identity_open(&id, folder, &config, true, NULL) == ERR_NOT_FOUND);
        store(SEED, buffer_bytes(&good[SEED]));
    }
    store(which, buffer_bytes(&good[which]));
    buffer_free(&content);
    return 0;
}
