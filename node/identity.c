#include "node/identity.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/path.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "net/address.h"
#include "net/certificate.h"

#define PURPOSE_SEED "consilium/node.seed"
#define PURPOSE_TLS "consilium/tls.key"

static enum err check_addresses(const struct identity_options *o, struct failure *failure)
{
    struct address a;
    enum err e = address_parse(&a, o->listen, false, failure);
    if (e != OK) return e;
    if (a.kind == ADDRESS_NAME)
        return fail(failure, ERR_INVALID, "cannot listen on %s: give a numeric address, and the name with --advertise",
                    o->listen);
    bool wildcard = address_is_wildcard(&a);
    if (o->advertise) {
        e = address_parse(&a, o->advertise, false, failure);
        if (e != OK) return e;
        wildcard = address_is_wildcard(&a);
    }
    if (wildcard)
        return fail(failure, ERR_INVALID,
                    "other nodes can't connect to %s: give the address that they reach with --advertise HOST:PORT",
                    o->advertise ? o->advertise : o->listen);
    return OK;
}

/* ERR_EXISTS when anything is in the folder; a folder that isn't there is empty. */
static enum err check_empty(const char *directory, struct failure *failure)
{
    DIR *d = opendir(directory);
    if (!d && errno == ENOENT) return OK;
    if (!d) return fail(failure, disk_error(errno), "cannot look into %s: %s", directory, path_trouble(errno));
    enum err e = OK;
    for (struct dirent *entry; e == OK && (entry = readdir(d));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            e = fail(failure, ERR_EXISTS, "the folder %s is in use (it has %s in it): choose an empty one", directory,
                     entry->d_name);
    closedir(d);
    return e;
}

/* What identity_create has made so far, to be removed when it fails. */
struct making {
    struct node_identity *id;
    const struct identity_options *options;
    bool made_directory, made_key;
    char key_path[FILES_PATH];
};

static enum err in_folder(char out[static FILES_PATH], const struct making *m, const char *name, struct failure *f)
{
    return files_path(out, m->options->directory, name, f);
}

static enum err make_storage_key(struct making *m, struct failure *failure)
{
    const char *given = m->options->storage_key_file;
    enum err e;
    if (given && given[0]) {
        if (strlen(given) >= FILES_PATH) return fail(failure, ERR_TOO_LARGE, "path too long: %s", given);
        strcpy(m->key_path, given);
        if (files_exists(given)) return storage_key_load(m->id->storage_key, given, failure);
    } else {
        e = in_folder(m->key_path, m, "storage.key", failure);
        if (e != OK) return e;
    }
    e = storage_key_create(m->key_path, m->id->storage_key, failure);
    m->made_key = e == OK;
    return e;
}

static enum err write_secrets(struct making *m, struct failure *failure)
{
    char path[FILES_PATH];
    uint8_t *seed = secret_alloc(NODE_SEED_SIZE);
    random_bytes(seed, NODE_SEED_SIZE);
    node_keys_derive(m->id->secrets, &m->id->descriptor.keys, seed);
    enum err e = in_folder(path, m, "node.seed", failure);
    if (e == OK)
        e = files_write_sealed(path, m->id->storage_key, PURPOSE_SEED, bytes_of(seed, NODE_SEED_SIZE), failure);
    secret_free(seed);
    if (e == OK)
        e = certificate_generate(&m->id->tls_key, &m->id->tls_certificate, m->options->name, failure);
    if (e == OK) e = in_folder(path, m, "tls.key", failure);
    if (e == OK)
        e = files_write_sealed(path, m->id->storage_key, PURPOSE_TLS, buffer_bytes(&m->id->tls_key), failure);
    if (e == OK) e = in_folder(path, m, "tls.crt", failure);
    if (e == OK) e = files_write(path, buffer_bytes(&m->id->tls_certificate), 0644, NULL, failure);
    if (e == OK) e = certificate_pin(&m->id->descriptor.tls_pin, buffer_bytes(&m->id->tls_certificate));
    return e;
}

/* What `run` will read must be what was given: a line of the file is short, and " ;" starts a comment. */
static enum err check_config(const char *path, const char *listen, const char *key_file, struct failure *failure)
{
    struct config back;
    config_defaults(&back);
    if (config_read_file(&back, path, NULL) == OK && strcmp(back.listen.text, listen) == 0 &&
        strcmp(back.storage_key_file.text, key_file) == 0)
        return OK;
    return fail(failure, ERR_USAGE, "the path %s can't stand in a settings file: give a shorter one, without ';'",
                key_file);
}

static enum err write_config(struct making *m, struct failure *failure)
{
    char path[FILES_PATH], absolute[PATH_MAX];
    struct buffer text = {0};
    buffer_printf(&text, "# Settings of this node; configs/consiliumd.conf documents all there are.\nlisten = %s\n",
                  m->options->listen);
    const char *given = m->options->storage_key_file;
    const char *key_file = !given || !given[0] ? "" : realpath(given, absolute) ? absolute : given;
    if (key_file[0]) buffer_printf(&text, "storage-key-file = %s\n", key_file);
    enum err e = in_folder(path, m, "consiliumd.conf", failure);
    if (e == OK) e = files_write(path, buffer_bytes(&text), 0644, NULL, failure);
    if (e == OK) e = check_config(path, m->options->listen, key_file, failure);
    buffer_free(&text);
    return e;
}

static bool fill_name(char *out, size_t size, const char *text)
{
    if (strlen(text) >= size) return false;
    strcpy(out, text);
    return true;
}

static enum err write_descriptor(struct making *m, struct buffer *line, struct failure *failure)
{
    struct descriptor *d = &m->id->descriptor;
    char path[FILES_PATH];
    d->id = id_of_key(&d->keys.message);
    struct buffer text = {0};
    descriptor_format(&text, d);
    buffer_append_text(&text, "\n");
    enum err e = in_folder(path, m, "node.descriptor", failure);
    if (e == OK) e = files_write(path, buffer_bytes(&text), 0644, NULL, failure);
    if (e == OK) buffer_append_bytes(line, buffer_bytes(&text));
    buffer_free(&text);
    return e;
}

static enum err name_node(struct descriptor *d, const struct identity_options *o, struct failure *failure)
{
    const char *address = o->advertise ? o->advertise : o->listen;
    enum err e = check_addresses(o, failure);
    if (e != OK) return e;
    if (!fill_name(d->name, sizeof d->name, o->name))
        return fail(failure, ERR_INVALID, "the name is longer than %d bytes: %s", LIMIT_NAME, o->name);
    if (!fill_name(d->hospital, sizeof d->hospital, o->hospital))
        return fail(failure, ERR_INVALID, "the hospital is longer than %d bytes: %s", LIMIT_NAME, o->hospital);
    if (!fill_name(d->address, sizeof d->address, address))
        return fail(failure, ERR_INVALID, "the address is longer than %d bytes: %s", LIMIT_ADDRESS, address);
    return descriptor_check(d, failure);
}

enum err identity_options_check(const struct identity_options *options, struct failure *failure)
{
    struct descriptor unused = {0};
    return name_node(&unused, options, failure);
}

static void remove_made(const struct making *m)
{
    static const char *const names[] = {"node.seed", "tls.key", "tls.crt", "consiliumd.conf", "node.descriptor"};
    char path[FILES_PATH];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (in_folder(path, m, names[i], NULL) == OK) unlink(path);
    if (m->made_key) unlink(m->key_path);
    if (m->made_directory) rmdir(m->options->directory);
}

enum err identity_create(struct buffer *line, const struct identity_options *options, struct failure *failure)
{
    struct node_identity id = {.lock = {-1}};
    struct making m = {.id = &id, .options = options};
    enum err e = name_node(&id.descriptor, options, failure);
    if (e == OK) e = check_empty(options->directory, failure);
    if (e != OK) return e;
    m.made_directory = !files_exists(options->directory);
    e = files_make_directory(options->directory, failure);
    if (e != OK) return e;
    id.storage_key = secret_alloc(sizeof *id.storage_key);
    id.secrets = secret_alloc(sizeof *id.secrets);
    e = make_storage_key(&m, failure);
    if (e == OK) e = write_secrets(&m, failure);
    if (e == OK) e = write_config(&m, failure);
    if (e == OK) e = write_descriptor(&m, line, failure);
    if (e != OK) remove_made(&m);
    identity_close(&id);
    return e;
}

/* Whether the file lies in the folder or below, however both are written. */
static bool is_below(const char *file, const char *folder)
{
    char inner[PATH_MAX], outer[PATH_MAX];
    if (!realpath(file, inner) || !realpath(folder, outer)) return false;
    size_t n = strlen(outer);
    return strncmp(inner, outer, n) == 0 && inner[n] == '/';
}

static enum err load_storage_key(struct node_identity *id, const struct config *config, struct failure *failure)
{
    const char *file = config->storage_key_file.text;
    if (file[0]) {
        id->key_beside_data = is_below(file, id->directory);
        return storage_key_load(id->storage_key, file, failure);
    }
    enum err e = storage_key_load_credential(id->storage_key, "storage.key", failure);
    if (e != ERR_NOT_FOUND) return e;
    char path[FILES_PATH];
    e = files_path(path, id->directory, "storage.key", failure);
    if (e != OK) return e;
    e = storage_key_load(id->storage_key, path, failure);
    if (e == ERR_NOT_FOUND)
        return fail(failure, ERR_NOT_FOUND,
                    "no storage key: %s isn't there and none was given; name it with --storage-key-file FILE", path);
    id->key_beside_data = e == OK;
    return e;
}

static enum err read_in(struct buffer *out, const struct node_identity *id, const char *name, size_t limit,
                        struct failure *failure)
{
    char path[FILES_PATH];
    enum err e = files_path(path, id->directory, name, failure);
    return e == OK ? files_read(out, path, limit, failure) : e;
}

static enum err read_sealed_in(struct buffer *out, const struct node_identity *id, const char *name,
                               const char *purpose, struct failure *failure)
{
    char path[FILES_PATH];
    enum err e = files_path(path, id->directory, name, failure);
    if (e == OK) e = files_read_sealed(out, path, id->storage_key, purpose, failure);
    return e == ERR_CORRUPT ? fail(failure, ERR_NODE_FILES, "%s is damaged", path) : e;
}

static enum err load_seed(struct node_identity *id, struct failure *failure)
{
    struct buffer seed = {.secret = true};
    struct node_public public_keys;
    enum err e = read_sealed_in(&seed, id, "node.seed", PURPOSE_SEED, failure);
    if (e == OK && seed.size != NODE_SEED_SIZE)
        e = fail(failure, ERR_NODE_FILES, "%s/node.seed has %zu bytes, not %d", id->directory, seed.size, NODE_SEED_SIZE);
    if (e == OK) {
        node_keys_derive(id->secrets, &public_keys, seed.data);
        if (memcmp(&public_keys, &id->descriptor.keys, sizeof public_keys) != 0)
            e = fail(failure, ERR_NODE_FILES, "%s: node.descriptor does not belong to node.seed", id->directory);
    }
    secret_wipe_buffer(&seed);
    return e;
}

static enum err load_tls(struct node_identity *id, struct failure *failure)
{
    struct digest pin;
    enum err e = read_sealed_in(&id->tls_key, id, "tls.key", PURPOSE_TLS, failure);
    if (e == OK) e = read_in(&id->tls_certificate, id, "tls.crt", FILES_SEALED_MAX, failure);
    if (e != OK) return e;
    if (certificate_check(buffer_bytes(&id->tls_key), buffer_bytes(&id->tls_certificate)) == OK &&
        certificate_pin(&pin, buffer_bytes(&id->tls_certificate)) == OK && digest_equal(&pin, &id->descriptor.tls_pin))
        return OK;
    return fail(failure, ERR_NODE_FILES, "%s: tls.key, tls.crt and node.descriptor do not belong together",
                id->directory);
}

static bool has_seed(const struct node_identity *id)
{
    char path[FILES_PATH];
    return files_path(path, id->directory, "node.seed", NULL) == OK && files_exists(path);
}

static enum err load_all(struct node_identity *id, const struct config *config, struct failure *failure)
{
    struct buffer line = {0};
    enum err e = read_in(&line, id, "node.descriptor", LIMIT_GENESIS, failure);
    if (e == ERR_NOT_FOUND && has_seed(id))
        e = fail(failure, ERR_NODE_FILES, "%s has a node.seed and no node.descriptor", id->directory);
    else if (e == ERR_NOT_FOUND)
        e = fail(failure, ERR_NOT_FOUND, "%s is no node's folder: make one with consiliumd init --dir %s ...",
                 id->directory, id->directory);
    if (e == OK) e = descriptor_parse(&id->descriptor, buffer_bytes(&line), failure);
    buffer_free(&line);
    if (e == OK) e = load_storage_key(id, config, failure);
    if (e == OK) e = load_seed(id, failure);
    return e == OK ? load_tls(id, failure) : e;
}

/* What may not be looked at says so when it is used. */
static enum err check_is_folder(const char *path, struct failure *failure)
{
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (there ? S_ISDIR(st.st_mode) : errno != ENOENT && errno != ENOTDIR) return OK;
    if (there) return fail(failure, ERR_NOT_FOUND, "%s is a file, not a node's folder", path);
    return fail(failure, ERR_NOT_FOUND, "there is no folder %s: make a node with consiliumd init --dir %s ...", path,
                path);
}

enum err identity_open(struct node_identity *out, const char *directory, const struct config *config,
                       bool read_only, struct failure *failure)
{
    char path[FILES_PATH];
    *out = (struct node_identity){.lock = {-1}};
    if (failure) failure->text[0] = '\0';
    if (strlen(directory) >= FILES_PATH) return fail(failure, ERR_TOO_LARGE, "path too long: %s", directory);
    strcpy(out->directory, directory);
    enum err e = files_path(out->log_directory, directory, "log", failure);
    if (e == OK) e = files_path(out->state_directory, directory, "state", failure);
    if (e == OK) e = files_path(path, directory, "lock", failure);
    if (e == OK) e = check_is_folder(directory, failure);
    if (e == OK && !read_only) e = files_lock(&out->lock, path, failure);
    if (e != OK) return e;
    out->storage_key = secret_alloc(sizeof *out->storage_key);
    out->secrets = secret_alloc(sizeof *out->secrets);
    e = load_all(out, config, failure);
    if (e != OK) identity_close(out);
    return e;
}

void identity_close(struct node_identity *id)
{
    secret_free(id->storage_key);
    secret_free(id->secrets);
    secret_wipe_buffer(&id->tls_key);
    buffer_free(&id->tls_certificate);
    files_unlock(&id->lock);
    *id = (struct node_identity){.lock = {-1}};
}

enum err identity_accept_loss(const struct node_identity *id, bool accept, struct failure *failure)
{
    char path[FILES_PATH];
    enum err e = files_path(path, id->directory, "accept-loss", failure);
    if (e != OK) return e;
    if (accept) return files_write(path, bytes_text("for the next start\n"), 0600, NULL, failure);
    struct failure why = {0};
    if (files_remove(path, &why) == OK) return OK;
    return fail(failure, ERR_PERMISSION, "%s: while it is there each start accepts losses, so this one ends", why.text);
}

bool identity_accepts_loss(const struct node_identity *id)
{
    char path[FILES_PATH];
    return files_path(path, id->directory, "accept-loss", NULL) == OK && files_exists(path);
}
