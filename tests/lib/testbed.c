#include "tests/lib/testbed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "ledger/genesis.h"

#define WORDS_MAX 96

const char *testbed_build(void)
{
    const char *folder = getenv("BUILD");
    return folder && *folder ? folder : "build";
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "FAILED: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void print_log_tail(const struct testbed *t, unsigned node)
{
    char command[512];
    fprintf(stderr, "--- last lines of node %u\n", node);
    snprintf(command, sizeof command, "tail -n 15 '%s/node-%u.log' >&2", t->dir, node);
    if (system(command) != 0) fprintf(stderr, "(no log)\n");
}

_Noreturn void testbed_fail(const struct testbed *t, const char *format, ...)
{
    va_list args;
    for (unsigned i = 1; i <= t->n; i++)
        print_log_tail(t, i);
    fprintf(stderr, "FAILED: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n(folder %s)\n", t->dir);
    for (unsigned i = 1; i <= t->n; i++)
        if (t->pids[i] > 0) kill(t->pids[i], SIGKILL);
    _exit(1);
}

void testbed_shell(const struct testbed *t, const char *format, ...)
{
    char command[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0) testbed_fail(t, "%s failed", command);
}

static void sleep_ms(unsigned ms)
{
    struct timespec d = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&d, NULL);
}

/* Splits at spaces; single quotes hold a word together. Changes `text`. */
static unsigned split(char *text, char **words, unsigned most)
{
    unsigned count = 0;
    for (char *at = text; *at;) {
        while (*at == ' ') *at++ = '\0';
        if (!*at || count + 1 == most) break;
        char end = ' ';
        if (*at == '\'') end = *at++;
        words[count++] = at;
        while (*at && *at != end) at++;
        if (*at) *at++ = '\0';
    }
    words[count] = NULL;
    return count;
}

/* `group`: one of its own, which a terminal's interrupt doesn't reach. */
static pid_t spawn(char *const *words, int out, int errors, unsigned files, bool group)
{
    struct rlimit few = {files, files};
    pid_t pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (group) setpgid(0, 0);
    if (files && setrlimit(RLIMIT_NOFILE, &few) != 0) _exit(127);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(out >= 0 ? out : null, 1);
    dup2(errors >= 0 ? errors : null, 2);
    execv(words[0], words);
    fprintf(stderr, "cannot run %s: %s\n", words[0], strerror(errno));
    _exit(127);
}

static int wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return status;
}

static void read_all(int file, struct buffer *out)
{
    char part[4096];
    for (;;) {
        ssize_t n = read(file, part, sizeof part);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        buffer_append(out, part, (size_t)n);
    }
}

/* Runs to the end; outputs through temporary files, so that neither can block the other. */
static int run(char *const *words, struct buffer *out, struct buffer *errors)
{
    FILE *files[2] = {tmpfile(), tmpfile()};
    if (!files[0] || !files[1]) die("no temporary file");
    pid_t pid = spawn(words, fileno(files[0]), fileno(files[1]), 0, false);
    int status = wait_for(pid);
    struct buffer *to[2] = {out, errors};
    for (int i = 0; i < 2; i++) {
        lseek(fileno(files[i]), 0, SEEK_SET);
        if (to[i]) {
            buffer_clear(to[i]);
            read_all(fileno(files[i]), to[i]);
            buffer_append(to[i], "", 1);
            to[i]->size--;
        }
        fclose(files[i]);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_text(struct buffer *out, struct buffer *errors, char *text)
{
    char *words[WORDS_MAX + 1];
    split(text, words, WORDS_MAX);
    return run(words, out, errors);
}

int testbed_cli(const struct testbed *t, struct buffer *out, struct buffer *errors, const char *format, ...)
{
    char text[8192];
    va_list args;
    int n = snprintf(text, sizeof text, "%s/consilium --cluster %s ", testbed_build(), t->genesis);
    va_start(args, format);
    vsnprintf(text + n, sizeof text - (size_t)n, format, args);
    va_end(args);
    return run_text(out, errors, text);
}

void testbed_expect(const struct testbed *t, int code, struct buffer *out, const char *format, ...)
{
    char words[7000];
    struct buffer errors = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    int got = testbed_cli(t, out, &errors, "%s", words);
    if (got != code)
        testbed_fail(t, "consilium %s: exit %d, expected %d\n%s%s", words, got, code,
                     out && out->data ? (const char *)out->data : "", errors.data ? (const char *)errors.data : "");
    buffer_free(&errors);
}

void testbed_status(const struct testbed *t, struct buffer *out, unsigned node)
{
    struct buffer errors = {0};
    int code = testbed_cli(t, out, &errors, "--json --via node-%u status", node);
    if ((code != 0 && code != 5) || out->size == 0)
        testbed_fail(t, "no status of node %u: exit %d\n%s", node, code, errors.data ? (const char *)errors.data : "");
    buffer_free(&errors);
}

/* "a.b.0.c" through objects and arrays. */
void testbed_json(const struct buffer *json, const char *path, char *out, size_t size)
{
    json_error_t error;
    json_t *root = json_loadb((const char *)json->data, json->size, 0, &error), *at = root;
    char copy[256], *save, *text = NULL;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *part = strtok_r(copy, ".", &save); at && part; part = strtok_r(NULL, ".", &save))
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(part)) : json_object_get(at, part);
    if (json_is_string(at))
        snprintf(out, size, "%s", json_string_value(at));
    else if (at && (text = json_dumps(at, JSON_ENCODE_ANY)))
        snprintf(out, size, "%s", text);
    else {
        fprintf(stderr, "FAILED: no %s in %s\n", path, json->data ? (const char *)json->data : "(nothing)");
        _exit(1);
    }
    free(text);
    json_decref(root);
}

/* Connections get the ports from here on up by themselves; listeners stay below. */
static unsigned first_ephemeral(void)
{
    unsigned low = 32768;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
    if (f && fscanf(f, "%u", &low) != 1) low = 32768;
    if (f) fclose(f);
    return low > 20000 && low < 65536 ? low : 32768;
}

/* Ours for as long as this process lives, among the tests that run beside it: a name in
 * the abstract namespace of Unix sockets, which nothing has to clean up. `again` (0 or 1): connections of its last
 * listener may still be dying. */
static bool claim_port(unsigned port, int again)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int size = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "consilium-test-port-%u", port);
    int claim = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (claim < 0 || probe < 0) die("no socket");
    if (setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &again, sizeof again) != 0) die("no socket option");
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size);
    bool ours = bind(claim, (struct sockaddr *)&name, length) == 0 &&
                bind(probe, (struct sockaddr *)&address, sizeof address) == 0;
    close(probe);
    if (!ours) close(claim); /* else it stays open on purpose */
    return ours;
}

static void free_ports(uint16_t *ports, unsigned count)
{
    unsigned first = 10000, range = first_ephemeral() - first, at = (unsigned)getpid() * 16 % range, tried = 0;
    for (unsigned i = 0; i < count; at = (at + 1) % range) {
        if (tried++ > range) die("no free port");
        if (claim_port(first + at, 0)) ports[i++] = (uint16_t)(first + at);
    }
}

static void must(const struct testbed *t, char *text)
{
    char copy[4096];
    struct buffer out = {0}, errors = {0};
    snprintf(copy, sizeof copy, "%s", text);
    int code = run_text(&out, &errors, text);
    if (code != 0) testbed_fail(t, "%s: exit %d\n%s", copy, code, errors.data ? (const char *)errors.data : "");
    buffer_free(&out);
    buffer_free(&errors);
}

static void make_genesis(struct testbed *t)
{
    char text[8192], *at = text, *end = text + sizeof text;
    snprintf(text, sizeof text, "%s/consilium key new --no-passphrase -o %s", testbed_build(), t->admin);
    must(t, text);
    at += snprintf(at, (size_t)(end - at), "%s/consilium genesis --origin consilium/test --admin %s --faulty %u -o %s",
                   testbed_build(), t->admin, t->faulty, t->genesis);
    for (unsigned i = 1; i <= t->n; i++)
        at += snprintf(at, (size_t)(end - at), " --member %s/node-%u/node.descriptor", t->dir, i);
    must(t, text);
}

void testbed_address(const struct testbed *t, unsigned node, char out[static TESTBED_ADDRESS_SIZE])
{
    snprintf(out, TESTBED_ADDRESS_SIZE, "127.0.0.%u", t->apart ? 10 + node : 1);
}

static void settle(struct testbed *t)
{
    char text[24];
    snprintf(t->genesis, sizeof t->genesis, "%s/genesis", t->dir);
    snprintf(t->admin, sizeof t->admin, "%s/admin.key", t->dir);
    /* Nothing of the person who runs the tests gets in. */
    setenv("HOME", t->dir, 1);
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("CONSILIUM_CLUSTER");
    unsetenv("CONSILIUM_IDENTITY");
    unsetenv("CONSILIUM_VIA");
    snprintf(text, sizeof text, "%u", TESTBED_PATIENCE_S);
    setenv("CONSILIUM_TIMEOUT", text, 1);
}

static void make_nodes(struct testbed *t)
{
    char text[2048], address[TESTBED_ADDRESS_SIZE];
    free_ports(&t->ports[1], t->n);
    for (unsigned i = 1; i <= t->n; i++) {
        testbed_address(t, i, address);
        snprintf(text, sizeof text,
                 "%s/consiliumd init --dir %s/node-%u --name node-%u --hospital 'Hospital %u' --listen %s:%u",
                 testbed_build(), t->dir, i, i, i, address, t->ports[i]);
        must(t, text);
    }
    make_genesis(t);
}

static void make(struct testbed *t)
{
    const char *base = getenv("TMPDIR");
    snprintf(t->dir, sizeof t->dir, "%s/consilium-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(t->dir)) die(t->dir);
    settle(t);
    make_nodes(t);
}

void testbed_make(struct testbed *t, unsigned n, unsigned faulty)
{
    *t = (struct testbed){.n = n, .faulty = faulty};
    make(t);
}

void testbed_make_apart(struct testbed *t, unsigned n, unsigned faulty)
{
    *t = (struct testbed){.n = n, .faulty = faulty, .apart = true};
    make(t);
}

/* The cluster whose genesis the folder has. */
static void find_nodes(struct testbed *t)
{
    struct buffer text = {0};
    struct failure failure = {0};
    struct genesis *genesis = xmalloc(sizeof *genesis);
    int file = open(t->genesis, O_RDONLY | O_CLOEXEC);
    if (file < 0) die(t->genesis);
    read_all(file, &text);
    close(file);
    if (genesis_parse(genesis, buffer_bytes(&text), &failure) != OK)
        testbed_fail(t, "%s: %s", t->genesis, failure.text);
    t->n = genesis->member_count;
    t->faulty = genesis->faulty;
    for (unsigned i = 1; i <= t->n; i++) {
        const char *colon = strrchr(genesis_member(genesis, i)->address, ':');
        t->ports[i] = (uint16_t)(colon ? atoi(colon + 1) : 0);
        if (!claim_port(t->ports[i], 1))
            testbed_fail(t, "port %u of node %u is taken: by one that still runs?", t->ports[i], i);
    }
    buffer_free(&text);
    free(genesis);
}

void testbed_keep(struct testbed *t, const char *dir, unsigned n, unsigned faulty)
{
    *t = (struct testbed){.n = n, .faulty = faulty, .kept = true, .extra = "--map-gib 1024 --log-level notice"};
    if (strlen(dir) >= sizeof t->dir) testbed_fail(t, "%s: too long a name of a folder", dir);
    strcpy(t->dir, dir);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) die(dir);
    settle(t);
    if (access(t->genesis, F_OK) == 0)
        find_nodes(t);
    else
        make_nodes(t);
}

void testbed_start(struct testbed *t, unsigned node)
{
    char text[2048], path[400], *words[WORDS_MAX + 1];
    if (t->pids[node]) return;
    snprintf(path, sizeof path, "%s/node-%u.log", t->dir, node);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0) die(path);
    dprintf(log, "--- start\n");
    snprintf(text, sizeof text, "%s/%s run --dir %s/node-%u --genesis %s --map-gib 16 --log-level %s %s",
             testbed_build(), t->program[node] ? t->program[node] : "consiliumd", t->dir, node, t->genesis,
             t->log_level ? t->log_level : "debug", t->extra ? t->extra : "");
    split(text, words, WORDS_MAX);
    t->pids[node] = spawn(words, log, log, t->files, t->kept);
    close(log);
}

void testbed_start_all(struct testbed *t)
{
    for (unsigned i = 1; i <= t->n; i++)
        testbed_start(t, i);
}

int testbed_signal(struct testbed *t, unsigned node, int number)
{
    if (t->pids[node] <= 0) return 0;
    kill(t->pids[node], number);
    if (number != SIGKILL && number != SIGTERM && number != SIGINT) return 0;
    int status = wait_for(t->pids[node]);
    t->pids[node] = 0;
    return status;
}

/* So many of its lines have it. */
static unsigned log_count(const struct testbed *t, unsigned node, const char *text, bool since_start)
{
    char path[400];
    snprintf(path, sizeof path, "%s/node-%u.log", t->dir, node);
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    char *line = NULL;
    size_t size = 0;
    unsigned found = 0;
    while (getline(&line, &size, f) > 0) {
        if (since_start && strncmp(line, "--- start", 9) == 0) found = 0;
        if (strstr(line, text)) found++;
    }
    free(line);
    fclose(f);
    return found;
}

bool testbed_log_has(const struct testbed *t, unsigned node, const char *text)
{
    return log_count(t, node, text, false) > 0;
}

unsigned testbed_life_count(const struct testbed *t, unsigned node, const char *text)
{
    return log_count(t, node, text, true);
}

bool testbed_life_has(const struct testbed *t, unsigned node, const char *text)
{
    return testbed_life_count(t, node, text) > 0;
}

void testbed_await_log(const struct testbed *t, unsigned node, const char *text)
{
    for (unsigned i = 0; i < TESTBED_PATIENCE_S * 20; i++) {
        if (testbed_life_has(t, node, text)) return;
        sleep_ms(50);
    }
    testbed_fail(t, "node %u does not say: %s", node, text);
}

void testbed_wait_ready(struct testbed *t, unsigned seconds)
{
    if (seconds < TESTBED_PATIENCE_S) seconds = TESTBED_PATIENCE_S;
    for (unsigned waited = 0; waited < seconds * 20; waited++) {
        bool all = true;
        for (unsigned i = 1; i <= t->n; i++) {
            if (t->pids[i] <= 0) continue;
            int status;
            if (waitpid(t->pids[i], &status, WNOHANG) == t->pids[i]) {
                t->pids[i] = 0;
                testbed_fail(t, "node %u ended by itself (status %d)", i, status);
            }
            all = all && (testbed_life_has(t, i, " ready: ") || testbed_life_has(t, i, "\"ready: ")); /* text or JSON */
        }
        if (all) return;
        sleep_ms(50);
    }
    testbed_fail(t, "not all nodes are ready after %u s", seconds);
}

void testbed_user(const struct testbed *t, const char *role, const char *hospital, const char *login,
                  char id[static ID_TEXT_SIZE])
{
    char text[2048];
    struct buffer out = {0};
    snprintf(text, sizeof text, "%s/consilium key new --no-passphrase -o %s/%s.key", testbed_build(), t->dir, login);
    must(t, text);
    testbed_expect(t, 0, &out, "--identity %s --json user add --role %s --hospital '%s' --login %s --name 'Test %s' "
                               "--key %s/%s.key",
                   t->admin, role, hospital, login, login, t->dir, login);
    testbed_json(&out, "user", id, ID_TEXT_SIZE);
    buffer_free(&out);
}

void testbed_care(const struct testbed *t, char doctor[static ID_TEXT_SIZE], char patient[static ID_TEXT_SIZE])
{
    char registrar[ID_TEXT_SIZE];
    testbed_user(t, "doctor", "Hospital 1", "doctor", doctor);
    testbed_user(t, "patient", "Hospital 1", "patient", patient);
    testbed_user(t, "registrar", "Hospital 1", "registrar", registrar);
    testbed_expect(t, 0, NULL, "-i %s/registrar.key team add %s %s", t->dir, patient, doctor);
}

void testbed_record(const struct testbed *t, char record[static ID_TEXT_SIZE], const char *patient, const char *content)
{
    char path[400];
    struct buffer out = {0};
    snprintf(path, sizeof path, "%s/content", t->dir);
    FILE *f = fopen(path, "w");
    if (!f || fputs(content, f) < 0 || fclose(f) != 0) die(path);
    testbed_expect(t, 0, &out, "-i %s/doctor.key --json record create --patient %s --kind note %s", t->dir, patient,
                   path);
    testbed_json(&out, "record", record, ID_TEXT_SIZE);
    buffer_free(&out);
}

void testbed_end(struct testbed *t)
{
    char command[400];
    for (unsigned i = 1; i <= t->n; i++)
        testbed_signal(t, i, getenv("COVERAGE") || t->kept ? SIGTERM : SIGKILL); /* who is killed counts no lines */
    if (getenv("KEEP") || t->kept) {
        fprintf(stderr, "kept %s\n", t->dir);
        return;
    }
    snprintf(command, sizeof command, "rm -rf '%s'", t->dir);
    if (system(command) != 0) fprintf(stderr, "could not remove %s\n", t->dir);
}
