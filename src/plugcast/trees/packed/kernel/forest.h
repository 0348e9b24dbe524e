/* A forest in memory, and one row at a time through it. See forest.py for what the fields mean. */
#ifndef PLUGCAST_FOREST_H
#define PLUGCAST_FOREST_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { RANKED = 0, DIRECT = 1, HYPERPLANE = 2 };
enum { IDENTITY = 0, SIGMOID = 1, EXPONENTIAL = 2 };
enum { ZERO = 0, LEFT = 1, RIGHT = 2, FILL = 3 };
enum { MOST_COLUMNS = 1024, MOST_RANKED_COLUMNS = 256, MOST_TREE_NODES = 65535, MOST_TERMS = 64 };
enum { SLICED_LEAVES = 128, GROUP = 8, MOST_ROWS_AT_ONCE = 128, SCRATCH_VALUES = 16384 };

/* left where rank < cut; a leaf's cut is 0 and its right child itself, so that it stays where it is */
typedef struct {
    uint8_t column, cut;
    uint16_t right;
} RankedNode;

/* left where value <= threshold; a leaf's threshold is NaN, which nothing is at most */
typedef struct {
    float threshold;
    uint16_t column, right;
} DirectNode;

/* for sliced.h: slots below 128 are leaves, those above are the results of inner nodes */
typedef struct {
    uint8_t column, rank, left, right;
} SlicedNode;

typedef struct {
    int32_t node, nodes, split, splits, leaves; /* where its parts start, and how many there are */
    int32_t unit;                               /* a step of its leaves: a power of two */
} Tree;

typedef struct {
    int kind, link, level, sliced, terms;
    int32_t features, columns, trees, nodes;
    double base, scale, slope;
    uint16_t *column_feature;
    uint8_t *column_missing;
    float *column_fill;
    uint32_t *cut_start;
    float *cuts;
    Tree *tree;
    RankedNode *ranked;
    DirectNode *direct; /* for HYPERPLANE, threshold and right child alone */
    uint16_t *term_column;
    float *term_weight;
    int16_t *value;
    SlicedNode *slice;
    int16_t *slice_leaf; /* 128 for each tree */
} Forest;

static inline uint8_t rank_of(const float *cuts, uint32_t count, float value)
{
    const float *at = cuts; /* how many are below: branch-free, and 0 for NaN */
    if (count == 0)
        return 0;
    while (count > 1) {
        uint32_t half = count / 2;
        at += (at[half - 1] < value) ? half : 0;
        count -= half;
    }
    return (uint8_t)((at - cuts) + (*at < value));
}

/* Rows are float or double; a double beyond float's range becomes its largest. */
typedef struct {
    const char *at;
    int is_double;
    int32_t features;
} Rows;

static inline float cell(const Rows *rows, size_t row, size_t feature)
{
    size_t place = row * (size_t)rows->features + feature;
    double wide;
    if (!rows->is_double) {
        float value;
        memcpy(&value, rows->at + 4 * place, 4);
        return value;
    }
    memcpy(&wide, rows->at + 8 * place, 8);
    if (wide > 3.4028234663852886e38 && wide <= 1.7976931348623157e308)
        return 3.4028234663852886e38F;
    if (wide < -3.4028234663852886e38 && wide >= -1.7976931348623157e308)
        return -3.4028234663852886e38F;
    return (float)wide;
}

static inline float settled(const Forest *f, int32_t column, float value)
{
    uint8_t rule = f->column_missing[column];
    if (rule == ZERO)
        return value != value ? 0.0F : value;
    if (rule == FILL)
        return value - value == 0.0F ? value : f->column_fill[column];
    return value;
}

static inline void ranks_of_row(const Forest *f, const Rows *rows, size_t row, uint8_t *made)
{
    for (int32_t c = 0; c < f->columns; c++) {
        uint32_t feature = f->column_feature[c], start = f->cut_start[feature];
        float value = settled(f, c, cell(rows, row, feature));
        uint8_t rank = rank_of(f->cuts + start, f->cut_start[feature + 1] - start, value);
        made[c] = (value != value && f->column_missing[c] == RIGHT) ? 255 : rank;
    }
}

static inline void values_of_row(const Forest *f, const Rows *rows, size_t row, float *made)
{
    for (int32_t c = 0; c < f->columns; c++) {
        float value = settled(f, c, cell(rows, row, f->column_feature[c]));
        made[c] = (value != value && f->column_missing[c] == LEFT) ? -INFINITY : value;
    }
}

/* Without a branch: which way a row goes cannot be guessed, and a wrong guess costs as much as two steps. */
static inline uint32_t chosen(int left, uint32_t one, uint32_t other)
{
    return other ^ ((other ^ one) & (0u - (uint32_t)left));
}

static inline uint32_t ranked_step(const RankedNode *nodes, uint32_t at, const uint8_t *row, uint32_t *open)
{
    uint32_t word, right, next;
    memcpy(&word, nodes + at, 4);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = (uint32_t)nodes[at].column | (uint32_t)nodes[at].cut << 8 | (uint32_t)nodes[at].right << 16;
#endif
    right = word >> 16;
    next = chosen(row[word & 255] < ((word >> 8) & 255), at + 1, right);
    *open |= word & 0xff00;
    return next;
}

static inline uint32_t direct_step(const DirectNode *nodes, uint32_t at, const float *row, uint32_t *open)
{
    const DirectNode *node = nodes + at;
    uint32_t next = chosen(row[node->column] <= node->threshold, at + 1, node->right);
    *open |= next ^ at;
    return next;
}

static inline uint32_t plane_step(const Forest *f, const Tree *t, uint32_t at, const float *row)
{
    size_t place = (size_t)t->node + at;
    const uint16_t *column = f->term_column + place * (size_t)f->terms;
    const float *weight = f->term_weight + place * (size_t)f->terms;
    double total = 0.0;
    for (int j = 0; j < f->terms; j++)
        total += (double)weight[j] * (double)row[column[j]];
    return total <= (double)f->direct[place].threshold ? at + 1 : f->direct[place].right;
}

/* One row through GROUP trees in step: a walk waits for memory, eight walks wait together. */
#define ONE_ROW(NAME, NODE, FIELD, VALUE, STEP)                                                      \
    static int32_t NAME(const Forest *f, const VALUE *row)                                           \
    {                                                                                                \
        int32_t total = 0;                                                                           \
        for (int32_t first = 0; first < f->trees; first += GROUP) {                                  \
            const NODE *nodes[GROUP];                                                                \
            uint32_t at[GROUP] = {0}, open;                                                          \
            for (int k = 0; k < GROUP; k++) {                                                        \
                int32_t tree = first + k < f->trees ? first + k : f->trees - 1;                      \
                nodes[k] = f->FIELD + f->tree[tree].node;                                            \
            }                                                                                        \
            do {                                                                                     \
                open = 0;                                                                            \
                for (int k = 0; k < GROUP; k++)                                                      \
                    at[k] = STEP(nodes[k], at[k], row, &open);                                       \
                for (int k = 0; k < GROUP; k++)                                                      \
                    at[k] = STEP(nodes[k], at[k], row, &open);                                       \
            } while (open);                                                                          \
            for (int k = 0; k < GROUP && first + k < f->trees; k++)                                  \
                total += f->value[f->tree[first + k].node + (int32_t)at[k]] * f->tree[first + k].unit; \
        }                                                                                            \
        return total;                                                                                \
    }

/* count rows, a multiple of GROUP, through one tree after another, so that a tree is in the cache for all of them. */
#define MANY_ROWS(NAME, NODE, FIELD, VALUE, STEP)                                                    \
    static void NAME(const Forest *f, const VALUE *rows, int count, int32_t *totals)                 \
    {                                                                                                \
        for (int32_t t = 0; t < f->trees; t++) {                                                     \
            const NODE *nodes = f->FIELD + f->tree[t].node;                                          \
            const int16_t *value = f->value + f->tree[t].node;                                       \
            const int32_t unit = f->tree[t].unit;                                                    \
            for (int part = 0; part < count; part += GROUP) {                                        \
                const VALUE *row = rows + (size_t)part * (size_t)f->columns;                         \
                uint32_t at[GROUP] = {0}, open;                                                      \
                do {                                                                                 \
                    open = 0;                                                                        \
                    for (int k = 0; k < GROUP; k++)                                                  \
                        at[k] = STEP(nodes, at[k], row + k * (ptrdiff_t)f->columns, &open);          \
                    for (int k = 0; k < GROUP; k++)                                                  \
                        at[k] = STEP(nodes, at[k], row + k * (ptrdiff_t)f->columns, &open);          \
                } while (open);                                                                      \
                for (int k = 0; k < GROUP; k++)                                                      \
                    totals[part + k] += value[at[k]] * unit;                                                \
            }                                                                                        \
        }                                                                                            \
    }

ONE_ROW(ranked_row, RankedNode, ranked, uint8_t, ranked_step)
ONE_ROW(direct_row, DirectNode, direct, float, direct_step)
MANY_ROWS(ranked_rows, RankedNode, ranked, uint8_t, ranked_step)
MANY_ROWS(direct_rows, DirectNode, direct, float, direct_step)

static int32_t plane_row(const Forest *f, const float *row)
{
    int32_t total = 0;
    for (int32_t t = 0; t < f->trees; t++) {
        const Tree *tree = f->tree + t;
        uint32_t at = 0;
        while (f->direct[tree->node + (int32_t)at].right != at)
            at = plane_step(f, tree, at, row);
        total += f->value[tree->node + (int32_t)at] * tree->unit;
    }
    return total;
}

/* Change of the expected answer along the paths, by feature, added to made: whole numbers, which doubles add exactly. */
static void explain_row(const Forest *f, const uint8_t *ranks, const float *values, double *made)
{
    for (int32_t t = 0; t < f->trees; t++) {
        const int16_t *value = f->value + f->tree[t].node;
        uint32_t at = 0, next, open = 0;
        for (;;) {
            uint32_t column;
            if (f->kind == RANKED) {
                const RankedNode *nodes = f->ranked + f->tree[t].node;
                next = ranked_step(nodes, at, ranks, &open);
                column = nodes[at].column;
            } else {
                const DirectNode *nodes = f->direct + f->tree[t].node;
                next = direct_step(nodes, at, values, &open);
                column = nodes[at].column;
            }
            if (next == at)
                break;
            made[f->column_feature[column]] += (double)(value[next] - value[at]) * (double)f->tree[t].unit;
            at = next;
        }
    }
}

/* The same sums and products as walk_numpy.exp, in the same order: no library's exp, no fused multiply-add. */
static double portable_exp(double value)
{
    static const double factor[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                    1.0 / 5040,      1.0 / 720,      1.0 / 120,     1.0 / 24,     1.0 / 6,
                                    0.5,             1.0,            1.0};
    double bound = value < -708.0 ? -708.0 : value > 708.0 ? 708.0 : value;
    double power = floor(bound * 1.4426950408889634 + 0.5);
    double rest = (bound - power * 6.93147180369123816490e-01) - power * 1.90821492927058770002e-10;
    double total = 1.0 / 6227020800.0, whole;
    uint64_t bits = (uint64_t)((int64_t)power + 1023) << 52;
    for (size_t i = 0; i < sizeof factor / sizeof *factor; i++)
        total = total * rest + factor[i];
    memcpy(&whole, &bits, 8);
    return total * whole;
}

static inline double answer_of(const Forest *f, int32_t total, int linked)
{
    double raw = f->base + f->scale * (double)total;
    if (!linked || f->link == IDENTITY)
        return raw;
    if (f->link == SIGMOID)
        return 1.0 / (1.0 + portable_exp(-(f->slope * raw)));
    return portable_exp(f->slope * raw);
}

#endif
