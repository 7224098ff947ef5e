/* What node/http.c (connections) and node/http_pages.c (what is answered) share. */
#ifndef NODE_HTTP_DESK_H
#define NODE_HTTP_DESK_H

#include "base/queue.h"
#include "ledger/tile.h"
#include "net/http_request.h"
#include "node/http.h"

#define HTTP_TAG_SIZE 40

struct http_client {
    struct http_desk *desk;
    struct connection *connection; /* NULL once closed */
    struct http_client *next, *previous; /* of all */
    struct queue_link behind;            /* in the desk's line for reading */
    struct http_reader *reader;
    struct buffer pending; /* bytes not looked at yet */
    uint64_t since_ms;     /* when the present request began */
    bool head, keep_alive; /* of the request that is being answered */
    bool answering;        /* the answer comes later */
    bool waiting;          /* in that line */
    bool reading;          /* a worker has it: not freed */
    bool blocked;          /* looked at again by the timer */
    bool missed;           /* ... which had no time for it: it is the first one next time */
    bool served;           /* ... which had time for it */
    bool closing;
    struct tile tile;
    bool fresh; /* of the state that is not synced yet */
    struct state_read read;
    struct buffer body;
};

struct http_desk {
    struct node *node;
    uv_timer_t timer;
    struct http_client *clients;
    uint32_t count;
    struct queue line; /* clients that wait to read */
    unsigned reads;
    unsigned left;              /* requests that are answered until the timer comes */
    unsigned turn;              /* ... of one connection in a row */
    uint64_t requests, refused; /* counters */
};

struct http_answer {
    unsigned status;
    const char *type;         /* NULL: text */
    const char *cache;        /* NULL: nobody keeps it */
    const char *tag;          /* with its quotes; NULL: none */
    unsigned retry_after_s;   /* 0: not said */
    struct bytes body;
};

/* Queues an answer to the present request. */
void http_answer(struct http_client *k, const struct http_answer *answer);
/* The same with a line of text. */
void http_say(struct http_client *k, unsigned status, const char *text);
/* Answers, or sets `answering` and answers later (http_answer, then http_go_on). */
void http_page(struct http_client *k, const struct http_request *request);
/* Looks at what came meanwhile. */
void http_go_on(struct http_client *k);
/* The connection is gone: `k` waits no longer. False: a worker still has it, and http.c's free comes later. */
bool http_leave(struct http_client *k);
void http_client_free(struct http_client *k);

#endif
