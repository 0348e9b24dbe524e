/* Rows into answers: which walk for how many rows. Nothing is allocated; scratch is on the stack. */
#ifndef PLUGCAST_BATCH_H
#define PLUGCAST_BATCH_H

#include "sliced.h"

enum { TOO_FEW = 6 }; /* fewer rows than this walk one by one: a slice costs the same for one as for all its lanes */

static int32_t total_of_row(const Forest *f, const Rows *rows, size_t row)
{
    if (f->kind == RANKED) {
        uint8_t ranks[MOST_RANKED_COLUMNS];
        ranks_of_row(f, rows, row, ranks);
        return ranked_row(f, ranks);
    }
    float values[MOST_COLUMNS];
    values_of_row(f, rows, row, values);
    return f->kind == DIRECT ? direct_row(f, values) : plane_row(f, values);
}

static void sliced_answers(const Forest *f, const Rows *rows, size_t count, double *out, int linked)
{
    Sliced scratch;
    sliced_begin(&scratch);
    for (size_t first = 0; first < count; first += BLOCK) {
        int some = count - first < BLOCK ? (int)(count - first) : BLOCK;
        sliced_block(f, rows, first, some, &scratch);
        for (int r = 0; r < some; r++)
            out[first + (size_t)r] = answer_of(f, scratch.total[r], linked);
    }
}

static size_t walked_answers(const Forest *f, const Rows *rows, size_t count, double *out, int linked)
{
    size_t first = 0;
    int most = SCRATCH_VALUES / (f->columns > 0 ? f->columns : 1) / GROUP * GROUP, some;
    union {
        uint8_t ranks[SCRATCH_VALUES];
        float values[SCRATCH_VALUES];
    } scratch;
    if (most > MOST_ROWS_AT_ONCE)
        most = MOST_ROWS_AT_ONCE;
    for (; first + GROUP <= count; first += (size_t)some) {
        int32_t totals[MOST_ROWS_AT_ONCE] = {0};
        some = count - first < (size_t)most ? (int)(count - first) / GROUP * GROUP : most;
        for (int r = 0; r < some; r++) {
            if (f->kind == RANKED)
                ranks_of_row(f, rows, first + (size_t)r, scratch.ranks + r * f->columns);
            else
                values_of_row(f, rows, first + (size_t)r, scratch.values + r * f->columns);
        }
        if (f->kind == RANKED)
            ranked_rows(f, scratch.ranks, some, totals);
        else
            direct_rows(f, scratch.values, some, totals);
        for (int r = 0; r < some; r++)
            out[first + (size_t)r] = answer_of(f, totals[r], linked);
    }
    return first;
}

static void answers(const Forest *f, const Rows *rows, size_t count, double *out, int linked)
{
    size_t done = 0;
    if (f->sliced && count >= TOO_FEW) {
        sliced_answers(f, rows, count, out, linked);
        return;
    }
    if (f->kind != HYPERPLANE)
        done = walked_answers(f, rows, count, out, linked);
    for (; done < count; done++)
        out[done] = answer_of(f, total_of_row(f, rows, done), linked);
}

/* (rows, features) contributions in the raw score's unit. */
static void explanations(const Forest *f, const Rows *rows, size_t count, double *out)
{
    uint8_t ranks[MOST_RANKED_COLUMNS];
    float values[MOST_COLUMNS];
    size_t features = (size_t)f->features;
    for (size_t row = 0; row < count; row++) {
        double *made = out + row * features;
        if (f->kind == RANKED)
            ranks_of_row(f, rows, row, ranks);
        else
            values_of_row(f, rows, row, values);
        memset(made, 0, features * sizeof *made);
        explain_row(f, ranks, values, made);
        for (size_t feature = 0; feature < features; feature++)
            made[feature] *= f->scale;
    }
}

#endif
