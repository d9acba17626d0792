/*
 * Looks like nfsd's queue of connections to the script: memory laid out by the offsets that -D
 * names, and functions where the kernel has those. What is to be counted stands in
 * test_operations_wait.py.
 */
#include <stdint.h>
#include <string.h>
#include <unistd.h>
static char task[8192], thread[256], rqstp[65536], server[512], xprt[1024], sock[2048], other[2048];
static char name[8]; /* probes see no memory that nobody has touched */
#define PUT(type, base, offset, value) (*(type *)((base) + (offset)) = (type)(value))
#define PROBE __attribute__((noinline)) void
PROBE enqueue(void *x) { __asm__ volatile("" ::: "memory"); }
PROBE data_ready(void *sk) { __asm__ volatile("" ::: "memory"); }
PROBE dequeue(void *a, void *b, void *c, void *t) { __asm__ volatile("" ::: "memory"); }
PROBE process(void *r) { __asm__ volatile("" ::: "memory"); }
enum { BUSY = 1, DATA = 8, DEFERRED = 0x100 };
static void hold_data(int yes) { PUT(void *, sock, SK_RECEIVE_QUEUE, yes ? other : sock + SK_RECEIVE_QUEUE); }
static void put_into_queue(uint64_t flags) { PUT(uint64_t, xprt, XPT_FLAGS, flags); enqueue(xprt); }
static void take(int brings_a_request) {
	dequeue(0, 0, 0, task);
	if (brings_a_request) process(rqstp);
}
static void wait(void) { usleep(50000); }
int main(void) {
	PUT(void *, task, TASK_KTHREAD, thread); PUT(void *, thread, KTHREAD_DATA, rqstp);
	PUT(void *, rqstp, RQ_XPRT, xprt); PUT(void *, rqstp, RQ_SERVER, server);
	PUT(char *, server, SV_NAME, strcpy(name, "nfsd"));
	PUT(void *, xprt, SVSK_SK, sock); PUT(void *, sock, SK_USER_DATA, xprt);
	/* 1: data arrive, then the connection is put into the queue; more data change nothing */
	hold_data(1); data_ready(sock); put_into_queue(DATA); wait(); data_ready(sock); wait(); take(1);
	/* put back in case there is more, and there is none */
	hold_data(0); put_into_queue(DATA); wait(); take(0);
	/* 2: put back, and data arrive while it is in the queue */
	put_into_queue(DATA); wait(); data_ready(sock); hold_data(1); wait(); take(1);
	/* 3: put back, and there is more */
	put_into_queue(DATA); wait(); take(1);
	/* reported while it is read, or is in the queue */
	wait(); put_into_queue(DATA | BUSY); wait(); take(1);
	/* reported, and nothing is there */
	hold_data(0); put_into_queue(0); wait(); take(1);
	/* 4: a request that was deferred is taken up again */
	put_into_queue(DEFERRED); wait(); take(1);
	/* a part of a request, then nothing that brings one without a wait of its own */
	hold_data(1); put_into_queue(DATA); wait(); take(0); take(1);
	/* not a socket */
	PUT(void *, xprt, SVSK_SK, other); put_into_queue(DATA); wait(); take(1);
	/* another server */
	PUT(void *, xprt, SVSK_SK, sock);
	strcpy(name, "lockd");
	put_into_queue(DATA); wait(); take(1);
	return 0;
}
