#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/check.h"
#include "base/log.h"
#include "net/connection_state.h"

#define TLS_ANSWERS_MAX (4 * KIB)

static void flush(struct connection *c);
static void start_reading(struct connection *c);

static uint64_t now_ms(const struct connection *c) { return uv_now(c->network->loop); }

static void enter(struct connection *c, enum phase phase)
{
    c->phase = phase;
    c->since_ms = now_ms(c);
    crowd_sort(c);
}

static void is_active(struct connection *c)
{
    c->active_ms = now_ms(c);
    c->shrunk = false;
    if (c->owner) c->owner->active(c->owner, c);
}

/* --- the end --- */

static void say_why(struct connection *c, enum err code, const char *text)
{
    if (c->close_said) return;
    c->close_said = true;
    c->close_code = code;
    snprintf(c->close_text, sizeof c->close_text, "%s", text ? text : err_text(code));
}

/* Once the socket is closed and no request or worker uses the connection. */
static void gone_if_done(struct connection *c)
{
    if (c->phase != PHASE_CLOSED || !c->gone_handle || c->shaking || !dial_cancel(c)) return;
    dial_free(c);
    if (c->close_code != OK) {
        char remote[ADDRESS_TEXT_SIZE];
        address_format(remote, &c->remote);
        log_debug("net", "connection %llu with %s: %s", (unsigned long long)c->serial, remote, c->close_text);
    }
    if (c->owner) c->owner->gone(c->owner, c);
    if (c->events.on_close) c->events.on_close(c, c->close_code, c->close_text, c->data);
    tls_session_free(c->tls);
    frame_reader_free(&c->reader);
    send_queue_free(&c->queue);
    buffer_free(&c->cipher);
    buffer_free(&c->shake_out);
    buffer_free(&c->hello);
    network_remove(c);
}

void connection_handle_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    c->gone_handle = true;
    gone_if_done(c);
}

void connection_finish(struct connection *c, enum err code, const char *text)
{
    if (c->phase == PHASE_CLOSED) return;
    say_why(c, code, text);
    if (c->phase < PHASE_OPEN && c->close_code != ERR_CANCELED) c->network->counters.handshakes_failed++;
    enter(c, PHASE_CLOSED);
    network_unwake(c);
    network_unshake(c);
    network_unplace(c);
    turn_leave(c);
    crowd_leave(c);
    dial_cancel(c);
    /* Already closing when a dial is between two addresses: its callback comes here too. */
    if (!uv_is_closing((uv_handle_t *)&c->tcp)) uv_close((uv_handle_t *)&c->tcp, connection_handle_closed);
}

void connection_reset(struct connection *c, enum err code, const char *text)
{
    struct linger at_once = {.l_onoff = 1};
    int fd;
    if (c->phase < PHASE_CLOSED && uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    connection_finish(c, code, text);
}

static void finish_tls(struct connection *c) { connection_finish(c, tls_error(c->tls), tls_error_text(c->tls)); }

static void finish_uv(struct connection *c, int status)
{
    char text[sizeof c->close_text];
    snprintf(text, sizeof text, "connection lost: %s", uv_strerror(status));
    connection_finish(c, ERR_CLOSED, text);
}

void connection_abort(struct connection *c, enum err code, const char *text) { connection_finish(c, code, text); }

void connection_close(struct connection *c, enum err code, const char *text)
{
    if (c->phase > PHASE_OPEN) return;
    if (c->phase < PHASE_OPEN) {
        connection_finish(c, code, text);
        return;
    }
    say_why(c, code, text);
    enter(c, PHASE_DRAINING);
    uv_read_stop((uv_stream_t *)&c->tcp);
    c->reading = false;
    network_wake(c); /* the flush that finds the queue empty goes on */
}

static void on_shut(uv_shutdown_t *request, int status)
{
    struct connection *c = request->handle->data;
    if (status != 0 && status != UV_ECANCELED) connection_finish(c, c->close_code, NULL);
}

/* Closing a socket with unread input would reset it, and the other side could
 * lose the last answer: so our end is shut, and what still comes is thrown away
 * until the other side ends too or has had its time. */
static void linger(struct connection *c)
{
    enter(c, PHASE_LINGERING);
    frame_reader_free(&c->reader); /* its memory counts for others */
    crowd_charge(c);
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shut) != 0)
        connection_finish(c, c->close_code, NULL);
    else
        start_reading(c);
}

/* Bad input: the upper layer may say what was wrong, then the connection closes. */
void connection_fault(struct connection *c, enum err code)
{
    c->network->counters.faults++;
    if (c->events.on_fault) c->events.on_fault(c, code, c->data);
    connection_close(c, code, NULL);
}

/* --- reading --- */

static bool delivers(const struct connection *c) { return c->phase == PHASE_OPEN && !c->paused && !c->held; }

void connection_stop_reading(struct connection *c)
{
    if (!c->reading) return;
    uv_read_stop((uv_stream_t *)&c->tcp);
    c->reading = false;
}

static bool goes_on(struct connection *c)
{
    if (!delivers(c)) return false;
    if (turn_is_over(c)) turn_wait(c);
    return !c->held;
}

/* Who has answers to read is asked nothing more before it has. */
static void count_frame(struct connection *c)
{
    c->network->counters.frames_in++;
    turn_took(c, 0, 1);
    if (!crowd_unread(c)) return;
    c->held = true;
    connection_stop_reading(c);
    network_wake(c);
}

/* Measures how long the unfinished frame takes, and what all of them hold. */
static void check_unfinished(struct connection *c, bool finished_one)
{
    if (frame_end(&c->reader) != ERR_TRUNCATED)
        c->frame_ms = 0;
    else if (!c->frame_ms || finished_one)
        c->frame_ms = c->begun_ms = now_ms(c);
    crowd_charge(c);
    crowd_limit_receiving(c);
}

static void deliver_frames(struct connection *c, struct bytes in)
{
    struct frame frame;
    enum err err = OK;
    bool any = false;
    frame_feed(&c->reader, in);
    while (goes_on(c) && (err = frame_next(&c->reader, &frame)) == OK) {
        any = true;
        count_frame(c);
        if (c->events.on_frame) c->events.on_frame(c, &frame, c->data);
    }
    if (c->phase != PHASE_OPEN) return;
    bool all_given = err == ERR_NOT_FOUND;
    if (err == OK) err = frame_keep(&c->reader); /* paused or held in the middle */
    if (err != OK && !all_given) {
        connection_fault(c, err);
        return;
    }
    check_unfinished(c, any);
    if (all_given) turn_sort(c);
    bool part = in.size > 0 && frame_end(&c->reader) == ERR_TRUNCATED;
    if (part && c->phase == PHASE_OPEN && c->events.on_part) c->events.on_part(c, c->data);
}

static void deliver(struct connection *c, struct bytes plain)
{
    if (!c->raw)
        deliver_frames(c, plain);
    else if (c->events.on_raw && plain.size)
        c->events.on_raw(c, plain, c->data);
}

/* Several records' worth, so that fewer frames are split between two deliveries. */
static size_t decrypt(struct connection *c)
{
    struct network *n = c->network;
    size_t size = 0, got;
    buffer_clear(&n->cipher);
    do {
        got = tls_read(c->tls, n->plain + size, PLAIN_SIZE - size, &n->cipher);
        size += got;
    } while (got && size < PLAIN_SIZE);
    return size;
}

static void write_cipher(struct connection *c, const struct buffer *cipher);

static void ended(struct connection *c)
{
    enum err err = c->raw ? OK : frame_end(&c->reader);
    connection_finish(c, err, err == OK ? "closed by the other side" : NULL);
}

static void process(struct connection *c)
{
    size_t size;
    c->more = false;
    if (!c->raw && frame_memory(&c->reader)) deliver_frames(c, (struct bytes){0});
    while (goes_on(c) && (size = decrypt(c)) > 0) {
        if (c->network->cipher.size) write_cipher(c, &c->network->cipher);
        deliver(c, bytes_of(c->network->plain, size));
    }
    if (c->phase != PHASE_OPEN) return;
    if (c->paused || c->held) {
        c->more = true;
        if (tls_keep(c->tls) != OK) finish_tls(c);
        return;
    }
    if (c->network->cipher.size) write_cipher(c, &c->network->cipher); /* an alert of TLS's */
    if (c->phase == PHASE_OPEN && tls_state(c->tls) == TLS_CLOSED) ended(c);
    if (c->phase == PHASE_OPEN && tls_state(c->tls) == TLS_FAILED) {
        c->network->counters.faults++;
        finish_tls(c);
    }
}

static void process_input(struct connection *c)
{
    turn_begin(c);
    process(c);
    turn_end(c);
}

static void shake_on(struct connection *c, struct bytes in)
{
    if (c->asked_ms) c->silent_ms += now_ms(c) - c->asked_ms;
    c->asked_ms = 0;
    tls_feed(c->tls, in);
    if (tls_keep(c->tls) != OK)
        finish_tls(c);
    else
        network_shake(c);
}

/* A TLS record's type, version, and length (RFC 5246, 6.2.1). */
#define RECORD_HEAD 5u
#define RECORD_ALERT 21
#define RECORD_HANDSHAKE 22

/* Who only connects, or says less than a whole record, costs us no TLS session; who has hung up before its first step
 * begins costs no signature, nor a place: so until then it is read from, while it waits in line or for a thread. */
static void take_hello(struct connection *c, struct bytes in)
{
    buffer_append_bytes(&c->hello, in);
    const uint8_t *head = c->hello.data;
    size_t size = c->hello.size;
    if (c->hello.failed) {
        connection_finish(c, ERR_NOMEM, NULL);
    } else if ((head[0] != RECORD_HANDSHAKE && head[0] != RECORD_ALERT) || size > LIMIT_HELLO) {
        connection_finish(c, ERR_NOT_TLS, NULL);
    } else if (!c->in_line && size >= RECORD_HEAD && size - RECORD_HEAD >= ((size_t)head[3] << 8 | head[4])) {
        if (network_place(c)) connection_placed(c);
    }
}

void connection_placed(struct connection *c)
{
    struct buffer hello = c->hello;
    c->hello = (struct buffer){0};
    if (tls_server_new(&c->tls, c->network->tls) != OK)
        connection_finish(c, ERR_NOMEM, NULL);
    else
        shake_on(c, buffer_bytes(&hello));
    buffer_free(&hello);
}

/* What comes while a step is waited for is the next one's. */
static void shake_with(struct connection *c, struct bytes in)
{
    if (!c->shake_queued) {
        if (c->begun) connection_stop_reading(c); /* not before a worker has used it */
        shake_on(c, in);
        return;
    }
    connection_stop_reading(c);
    tls_feed(c->tls, in);
    if (tls_keep(c->tls) != OK) finish_tls(c);
}

static void on_input(struct connection *c, struct bytes in)
{
    c->network->counters.bytes_in += in.size;
    is_active(c);
    switch (c->phase) {
    case PHASE_HANDSHAKE:
        if (c->tls)
            shake_with(c, in);
        else
            take_hello(c, in);
        break;
    case PHASE_OPEN:
        turn_took(c, in.size, 0);
        tls_feed(c->tls, in);
        process_input(c);
        break;
    case PHASE_CONNECTING:
    case PHASE_DRAINING:
    case PHASE_LINGERING:
    case PHASE_CLOSED: break; /* thrown away */
    }
}

/* on_alloc gave no buffer, and may not stop the reading itself. */
static void read_later(struct connection *c)
{
    if (turn_is_over(c))
        turn_wait(c);
    else
        crowd_limit_receiving(c);
}

static void hear(struct connection *c, ssize_t size, const uv_buf_t *buffer)
{
    if (size > 0)
        on_input(c, bytes_of(buffer->base, (size_t)size));
    else if (size == UV_ENOBUFS)
        read_later(c);
    else if (size == UV_EOF && c->phase == PHASE_OPEN)
        ended(c);
    else if (size == UV_EOF && c->phase == PHASE_HANDSHAKE)
        connection_finish(c, ERR_CLOSED, "closed by the other side during the TLS handshake");
    else if (size < 0 && c->phase == PHASE_LINGERING)
        connection_finish(c, c->close_code, NULL); /* what was waited for */
    else if (size < 0)
        finish_uv(c, (int)size);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct connection *c = stream->data;
    bool fresh = connection_is_fresh(c);
    uint64_t begun = fresh ? uv_hrtime() : 0;
    hear(c, size, buffer);
    if (fresh) turn_took_time(c->network, TURN_FRESH, begun);
}

/* One buffer for all, used at once. None when it is others' turn: what is not read takes no memory here, and makes the
 * sender wait. */
static uv_buf_t input_of(struct connection *c)
{
    bool limited = c->phase == PHASE_OPEN || connection_is_fresh(c);
    size_t room = limited && turn_is_over(c) ? 0 : c->phase == PHASE_OPEN ? crowd_room(c) : INPUT_SIZE;
    return uv_buf_init(room ? (char *)c->network->input : NULL, (unsigned)room);
}

/* libuv reads into it and calls on_read before anything else. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)suggested;
    *buffer = input_of(handle->data);
}

static void start_reading(struct connection *c)
{
    if (c->reading || c->phase == PHASE_CLOSED) return;
    int code = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    if (code != 0)
        finish_uv(c, code);
    else
        c->reading = true;
}

static void read_now(struct connection *c, uv_buf_t buffer)
{
    int fd;
    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) != 0) return;
    ssize_t size = recv(fd, buffer.base, buffer.len, MSG_DONTWAIT);
    if (size >= 0)
        hear(c, size ? size : UV_EOF, &buffer);
    else if (errno != EAGAIN && errno != EINTR)
        hear(c, uv_translate_sys_error(errno), &buffer);
}

/* Mostly who connects says something at once, and who has waited for its turn did so before: that is had without
 * the poll's being told of this connection first. */
static void read_fresh(struct connection *c)
{
    start_reading(c);
    if (c->reading) read_now(c, uv_buf_init((char *)c->network->input, INPUT_SIZE));
}

void connection_pause(struct connection *c)
{
    c->paused = true;
    if (c->phase == PHASE_OPEN) connection_stop_reading(c);
}

void connection_resume(struct connection *c)
{
    if (!c->paused) return;
    c->paused = false;
    /* Not here: the caller may be inside another connection's event, with the shared buffers in use. */
    network_wake(c);
}

/* --- writing --- */

static void took(struct connection *c, size_t size)
{
    c->taken += size;
    if (size) c->took_ms = now_ms(c);
    c->network->counters.bytes_out += size;
    is_active(c);
}

static void on_written(uv_write_t *request, int status)
{
    struct connection *c = request->handle->data;
    c->writing = false;
    if (c->phase == PHASE_CLOSED) return;
    if (status < 0) {
        finish_uv(c, status);
        return;
    }
    took(c, c->cipher.size);
    buffer_free(&c->cipher);
    if (c->phase == PHASE_HANDSHAKE)
        start_reading(c);
    else
        flush(c);
}

/* What the kernel does not take at once is copied and waits in a uv_write. */
static void write_cipher(struct connection *c, const struct buffer *cipher)
{
    size_t taken = 0;
    if (!c->writing) {
        uv_buf_t all = uv_buf_init((char *)cipher->data, (unsigned)cipher->size);
        int n = uv_try_write((uv_stream_t *)&c->tcp, &all, 1);
        if (n < 0 && n != UV_EAGAIN) {
            finish_uv(c, n);
            return;
        }
        taken = n > 0 ? (size_t)n : 0;
        took(c, taken);
        if (taken == cipher->size) return;
    }
    if (c->writing) { /* an answer of TLS's own: next after that write, since records are numbered */
        buffer_append_bytes(&c->shake_out, buffer_bytes(cipher));
        if (c->shake_out.failed || c->shake_out.size > TLS_ANSWERS_MAX) connection_finish(c, ERR_SLOW_READER, NULL);
        return;
    }
    buffer_append(&c->cipher, cipher->data + taken, cipher->size - taken);
    if (c->cipher.failed) {
        connection_finish(c, ERR_NOMEM, NULL);
        return;
    }
    uv_buf_t rest = uv_buf_init((char *)c->cipher.data, (unsigned)c->cipher.size);
    int code = uv_write(&c->write_request, (uv_stream_t *)&c->tcp, &rest, 1, on_written);
    if (code < 0)
        finish_uv(c, code);
    else
        c->writing = true;
}

static void flush_answers(struct connection *c)
{
    if (c->writing || c->shake_out.size == 0) return;
    struct buffer answers = c->shake_out;
    c->shake_out = (struct buffer){0};
    write_cipher(c, &answers);
    buffer_free(&answers);
}

/* As much as is written at once, into the network's buffer. */
static enum err encrypt(struct connection *c)
{
    struct network *n = c->network;
    enum err err = OK;
    buffer_clear(&n->cipher);
    while (err == OK && c->queue.size && n->cipher.size + SEND_RECORD <= WRITE_SIZE) {
        struct bytes first = send_queue_first(&c->queue, n->record, WRITE_SIZE - n->cipher.size);
        err = tls_write(c->tls, &n->cipher, first);
        send_queue_take(&c->queue, first.size);
    }
    return err;
}

static void flush(struct connection *c)
{
    struct network *n = c->network;
    flush_answers(c);
    if (c->phase == PHASE_CLOSED) return;
    for (size_t queued = c->queue.size; !c->writing && c->queue.size && queued - c->queue.size < TURN_SIZE;) {
        if (encrypt(c) != OK) {
            finish_tls(c);
            return;
        }
        write_cipher(c, &n->cipher);
        if (c->phase == PHASE_CLOSED) return;
    }
    crowd_charge(c);
    if (c->full && crowd_queued(c) <= n->options.send_queue / 2 &&
        (!crowd_client(c) || n->sending <= n->options.send_total / 2)) {
        c->full = false;
        c->tell_writable = true;
    }
    if (c->held && !c->in_turns && c->phase == PHASE_OPEN && !crowd_unread(c)) turn_wait(c);
    if (c->tell_writable || (!c->writing && c->queue.size)) network_wake(c);
    if (c->phase == PHASE_DRAINING && !c->writing && c->queue.size == 0) {
        buffer_clear(&n->cipher);
        tls_close(c->tls, &n->cipher);
        write_cipher(c, &n->cipher);
        if (c->phase == PHASE_DRAINING) linger(c);
    }
}

static void read_on(struct connection *c)
{
    if (delivers(c) && c->more) process_input(c);
    if (delivers(c) && !c->crowded) start_reading(c);
}

/* Who waited for its turn mostly has sent more meanwhile, and waits again after it: of hundreds of these the poll is not
 * told each time. */
static void read_on_now(struct connection *c)
{
    if (delivers(c) && c->more) process_input(c);
    if (!delivers(c) || c->crowded) return;
    uv_buf_t buffer = input_of(c);
    if (buffer.len)
        read_now(c, buffer);
    else
        read_later(c);
    if (delivers(c) && !c->crowded) start_reading(c);
}

void connection_wake(struct connection *c)
{
    if (c->phase == PHASE_OPEN || c->phase == PHASE_DRAINING) flush(c);
    if (c->tell_writable && c->phase == PHASE_OPEN) {
        c->tell_writable = false;
        if (c->events.on_writable) c->events.on_writable(c, c->data);
    }
    read_on(c);
}

bool connection_is_fresh(const struct connection *c) { return c->phase == PHASE_HANDSHAKE && !c->dialed; }

void connection_go_on(struct connection *c)
{
    c->held = crowd_unread(c); /* flush goes on with it */
    if (connection_is_fresh(c) && !c->writing && !c->shaking && !(c->begun && c->shake_queued))
        read_fresh(c);
    else
        read_on_now(c);
}

/* Room for `size` more bytes, or why not. */
static enum err reserve(struct connection *c, size_t size)
{
    struct network *n = c->network;
    if (c->phase != PHASE_OPEN) return ERR_CLOSED;
    size_t before = crowd_queued(c); /* an empty queue takes any one frame */
    if ((before && before + size > n->options.send_queue) || !crowd_limit_sending(c, size)) {
        c->full = true;
        return ERR_BUSY;
    }
    return OK;
}

static enum err queue_parts(struct connection *c, const struct send_part *parts, size_t count)
{
    if (crowd_queued(c) == 0) c->took_ms = now_ms(c);
    enum err err = send_queue_add(&c->queue, parts, count);
    if (err != OK) return err; /* later frames may fit */
    crowd_charge(c);
    network_wake(c);
    return OK;
}

enum err connection_send_parts(struct connection *c, uint32_t type, uint64_t id, const struct send_part *parts,
                               size_t count)
{
    struct send_part all[1 + CONNECTION_PARTS_MAX];
    uint8_t head[FRAME_HEAD_MAX];
    size_t size = 0;
    CHECK(!c->raw && count > 0 && count <= CONNECTION_PARTS_MAX);
    for (size_t i = 0; i < count; i++) {
        all[1 + i] = parts[i];
        if (parts[i].bytes.size > FRAME_BODY_MAX - size) return ERR_FRAME_TOO_LONG;
        size += parts[i].bytes.size;
    }
    CHECK(size > 0);
    all[0] = (struct send_part){bytes_of(head, frame_head(head, type, id, size))};
    enum err err = reserve(c, all[0].bytes.size + size);
    if (err == OK) err = queue_parts(c, all, 1 + count);
    if (err == OK) c->network->counters.frames_out++;
    return err;
}

enum err connection_send(struct connection *c, uint32_t type, uint64_t id, struct bytes body)
{
    static const uint8_t empty_array = 0x90;
    if (body.size == 0) body = bytes_of(&empty_array, 1);
    return connection_send_parts(c, type, id, &(struct send_part){body}, 1);
}

enum err connection_write(struct connection *c, struct bytes bytes)
{
    CHECK(c->raw);
    enum err err = reserve(c, bytes.size);
    return err == OK && bytes.size ? queue_parts(c, &(struct send_part){bytes}, 1) : err;
}

bool connection_is_unheard(const struct connection *c, uint32_t ms)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int fd;
    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) != 0 ||
        getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return false;
    return info.tcpi_state == TCP_ESTABLISHED && info.tcpi_unacked > 0 && info.tcpi_last_ack_recv >= ms;
}

size_t connection_queued(const struct connection *c) { return crowd_queued(c); }

size_t connection_unacked(const struct connection *c)
{
    int fd, waits = 0;
    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) != 0 || ioctl(fd, SIOCOUTQ, &waits) != 0 || waits < 0) waits = 0;
    return crowd_queued(c) + (size_t)waits;
}

uint64_t connection_receiving_ms(const struct connection *c)
{
    return c->frame_ms ? now_ms(c) - c->begun_ms : 0;
}

void connection_flush(struct connection *c)
{
    if (c->phase == PHASE_OPEN) flush(c);
}

/* --- the handshake --- */

/* Acknowledgements and probes find a machine that is gone without a word;
 * small frames are not held back for more (Nagle), since a turn's frames go together already. */
static void tune(uv_tcp_t *tcp, uint32_t stall_ms, bool peer)
{
    int fd, idle = peer ? 3 : 30, interval = peer ? 1 : 10, count = 3, thin = 1;
    /* The kernel also counts a full receiver as silent; for clients our own rule comes first and tells:
     * it takes up to two periods, since the first may still have seen bytes go. */
    unsigned silent = peer ? LIMIT_PEER_DEAD_MS : 3 * stall_ms;
    uv_tcp_nodelay(tcp, 1);
    uv_tcp_keepalive(tcp, 1, (unsigned)idle);
    if (uv_fileno((uv_handle_t *)tcp, &fd) != 0) return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent, sizeof silent);
    /* Few and small frames: the first retransmissions of a lost one come evenly instead of ever later (Linux: tcp-thin.rst,
     * thin streams). */
    if (peer) (void)setsockopt(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, &thin, sizeof thin);
}

void connection_tune_accepted(struct network *n, uv_tcp_t *listening) { tune(listening, n->options.stall_ms, false); }

static void opened(struct connection *c)
{
    struct network *n = c->network;
    if (c->owner && !c->owner->choose(c->owner, c)) {
        connection_finish(c, ERR_ALPN, "nobody here serves this protocol");
        return;
    }
    network_unplace(c);
    turn_leave(c); /* what it waited for, as a fresh one */
    c->held = false;
    enter(c, PHASE_OPEN);
    c->active_ms = c->stall_ms = now_ms(c);
    if (tls_resumed(c->tls))
        n->counters.handshakes_resumed++;
    else
        n->counters.handshakes_full++;
    c->peer = strcmp(tls_alpn(c->tls), TLS_ALPN_PEER) == 0;
    if (c->peer) tune(&c->tcp, c->network->options.stall_ms, true);
    if (c->events.on_open) c->events.on_open(c, c->data);
    c->more = true; /* what came with the end of the handshake */
    network_wake(c);
}

void connection_shaken(struct connection *c)
{
    if (c->phase == PHASE_CLOSED) {
        gone_if_done(c);
        return;
    }
    if (tls_state(c->tls) == TLS_FAILED) say_why(c, tls_error(c->tls), tls_error_text(c->tls));
    flush_answers(c);
    if (c->phase == PHASE_CLOSED) return;
    switch (tls_state(c->tls)) {
    case TLS_HANDSHAKING:
        c->asked_ms = now_ms(c);
        if (!c->writing) start_reading(c); /* else once that is written: nothing comes before it */
        break;
    case TLS_OPEN: opened(c); break;
    case TLS_CLOSED:
    case TLS_FAILED: finish_tls(c); break;
    }
}

void connection_connected(struct connection *c)
{
    struct sockaddr_storage remote;
    int size = sizeof remote;
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&remote, &size) == 0)
        address_from_socket(&c->remote, (struct sockaddr *)&remote);
    if (c->dialed) tune(&c->tcp, c->network->options.stall_ms, false);
    c->phase = PHASE_HANDSHAKE; /* since_ms stays a dial's start */
}

void connection_accepted(struct connection *c, struct connection_owner *owner)
{
    c->owner = owner;
    read_fresh(c);
}

/* --- what is known --- */

void connection_set_data(struct connection *c, void *data) { c->data = data; }
void *connection_data(const struct connection *c) { return c->data; }
const char *connection_alpn(const struct connection *c) { return c->tls ? tls_alpn(c->tls) : NULL; }
unsigned connection_alpn_version(const struct connection *c) { return c->tls ? tls_alpn_version(c->tls) : 0; }
bool connection_resumed(const struct connection *c) { return tls_resumed(c->tls); }
const struct address *connection_remote(const struct connection *c) { return &c->remote; }
uint64_t connection_serial(const struct connection *c) { return c->serial; }
struct tls_ticket *connection_ticket_take(struct connection *c) { return tls_ticket_take(c->tls); }

bool connection_peer_pin(const struct connection *c, struct digest *pin) { return tls_peer_pin(c->tls, pin); }
