/* Exact Shapley values of trees that split on one feature at a time: TreeSHAP, path-dependent (Lundberg et al. 2020).
 *
 * Over the features of a leaf's way, a feature's value is an integral from 0 to 1 of a polynomial in t: the product of
 * (one * t + share * (1 - t)) over the other features, one being whether the row satisfies all conditions on that
 * feature, share how much of the training rows would have. Gauss and Legendre's rule integrates it exactly. The factors
 * of a way are those of its parent but for one, so that a product goes down and sums come up every branch once, at the
 * points of the rule: the order of work of Linear TreeSHAP (Yu et al. 2022), nodes times points. What a branch multiplies
 * by depends on the row in three ways only, and each is a table.
 */
#ifndef PLUGCAST_SHAPLEY_H
#define PLUGCAST_SHAPLEY_H

#include <math.h>

#include "sliced.h"

#if defined(__GNUC__) || defined(__clang__)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE inline
#endif

enum { MOST_DEPTH = 512, QUAD = 4, MOST_POINTS = 32, TABLES = 5, MOST_SHAPLEY_ROWS = 32, SHAPLEY_CELLS = 8192 };
enum { HOLDS = 0, BREAKS = 1, BROKEN = 2 }; /* the conditions on a feature: still, no longer, not any more before */

/* A node, and the branch that leads to it. */
typedef struct {
    double threshold, answer;
    int32_t parent, before, right; /* before: where the feature was asked last on the way here; the root if never */
    uint16_t asked, feature;       /* by the parent, by itself */
    uint8_t is_left, missing_left;
} Branch;

typedef struct {
    int32_t features, trees, nodes, points, most_nodes;
    int level;
    int32_t *root;
    Branch *branch;
    double *table; /* (nodes, TABLES, points): three factors, two weights */
} Shapley;

/* Points and weights of Gauss and Legendre's rule on 0 to 1: roots of the polynomial by Newton's method. */
static void legendre(int count, double *point, double *weight)
{
    for (int i = 0; i < count; i++) {
        double x = cos(3.14159265358979323846 * (i + 0.75) / (count + 0.5)), slope = 1.0;
        for (int turn = 0; turn < 100; turn++) {
            double one = 1.0, other = 0.0, step;
            for (int j = 0; j < count; j++) {
                double older = other;
                other = one;
                one = ((2.0 * j + 1.0) * x * other - j * older) / (j + 1.0);
            }
            slope = count * (x * one - other) / (x * x - 1.0);
            step = one / slope;
            x -= step;
            if (fabs(step) < 1e-16)
                break;
        }
        point[i] = 0.5 * (1.0 - x);
        weight[i] = 1.0 / ((1.0 - x * x) * slope * slope);
    }
}

static void fill_tables(Shapley *s, const double *share)
{
    double point[MOST_POINTS], weight[MOST_POINTS];
    int points = s->points;
    legendre(points, point, weight);
    for (int32_t tree = 0; tree < s->trees; tree++)
        for (int32_t i = s->root[tree] + 1; i < s->root[tree + 1]; i++) {
            double *table = s->table + (size_t)i * TABLES * (size_t)points;
            double now = share[i], before = share[s->root[tree] + s->branch[i].before];
            for (int k = 0; k < points; k++) {
                double t = point[k], rest = 1.0 - t, old = t + before * rest, gone = (1.0 - before) / old;
                table[k] = (t + now * rest) / old;
                table[points + k] = now * rest / old;
                table[2 * points + k] = now / before;
                table[3 * points + k] = weight[k] * ((1.0 - now) / (t + now * rest) - gone);
                table[4 * points + k] = weight[k] * (-1.0 / rest - gone);
            }
        }
}

/* One tree, one row; product has room for points of each node, state for each node, made for points of each feature. */
static ALWAYS_INLINE void shapley_tree(const Branch *branch, const double *table, int32_t nodes,
                                       const int points, const double *row, double *product, uint8_t *state, double *made)
{
    const size_t step = (size_t)TABLES * (size_t)points;
    for (int k = 0; k < points; k++)
        product[k] = 1.0;
    state[0] = HOLDS;
    for (int32_t i = 0; i < nodes; i++) {
        const Branch *b = branch + i;
        double *own = product + (size_t)i * (size_t)points;
        if (i > 0) {
            const Branch *up = branch + b->parent;
            const double *above = product + (size_t)b->parent * (size_t)points;
            double value = row[b->asked];
            int left = value != value ? up->missing_left : value <= up->threshold;
            int now = state[b->before] != HOLDS ? BROKEN : left != b->is_left;
            const double *factor = table + (size_t)i * step + (size_t)now * (size_t)points;
            state[i] = (uint8_t)now;
            for (int k = 0; k < points; k++)
                own[k] = above[k] * factor[k];
        }
        if (b->right == i)
            for (int k = 0; k < points; k++)
                own[k] *= b->answer;
    }
    for (int32_t i = nodes - 1; i > 0; i--) {
        const Branch *b = branch + i;
        double *own = product + (size_t)i * (size_t)points;
        if (b->right != i) {
            const double *one = own + points, *other = product + (size_t)b->right * (size_t)points;
            for (int k = 0; k < points; k++)
                own[k] = one[k] + other[k];
        }
        if (state[i] != BROKEN) {
            const double *weight = table + (size_t)i * step + (size_t)(3 + state[i]) * (size_t)points;
            double *sum = made + (size_t)b->asked * (size_t)points;
            for (int k = 0; k < points; k++)
                sum[k] += own[k] * weight[k];
        }
    }
}

static ALWAYS_INLINE void shapley_rows(const Shapley *s, const int points, const double *rows, size_t count, double *scratch,
                                       double *out)
{
    const size_t features = (size_t)s->features, wide = features * (size_t)points;
    double *sums = scratch, *product = scratch + (size_t)MOST_SHAPLEY_ROWS * wide;
    uint8_t *state = (uint8_t *)(product + (size_t)s->most_nodes * (size_t)points);
    size_t block = SHAPLEY_CELLS / wide;
    block = block < 1 ? 1 : block > MOST_SHAPLEY_ROWS ? MOST_SHAPLEY_ROWS : block;
    for (size_t first = 0; first < count; first += block) {
        size_t some = count - first < block ? count - first : block;
        memset(sums, 0, some * wide * sizeof *sums);
        for (int32_t tree = 0; tree < s->trees; tree++) {
            int32_t start = s->root[tree];
            const double *table = s->table + (size_t)start * TABLES * (size_t)points;
            for (size_t r = 0; r < some; r++)
                shapley_tree(s->branch + start, table, s->root[tree + 1] - start, points, rows + (first + r) * features,
                             product, state, sums + r * wide);
        }
        for (size_t r = 0; r < some; r++)
            for (size_t f = 0; f < features; f++) {
                const double *sum = sums + r * wide + f * (size_t)points;
                double total = 0.0;
                for (int k = 0; k < points; k++)
                    total += sum[k];
                out[(first + r) * features + f] = total;
            }
    }
}

static size_t shapley_scratch(const Shapley *s)
{
    return sizeof(double) * (size_t)s->points * ((size_t)MOST_SHAPLEY_ROWS * (size_t)s->features + (size_t)s->most_nodes) +
           (size_t)s->most_nodes;
}

#define SHAPLEY_WAYS(NAME, TARGET)                                                                                    \
    TARGET static void NAME(const Shapley *s, const double *rows, size_t count, double *scratch, double *out)         \
    {                                                                                                                 \
        if (s->points == QUAD)                                                                                       \
            shapley_rows(s, QUAD, rows, count, scratch, out);                                                        \
        else if (s->points == 2 * QUAD)                                                                              \
            shapley_rows(s, 2 * QUAD, rows, count, scratch, out);                                                    \
        else                                                                                                          \
            shapley_rows(s, s->points, rows, count, scratch, out);                                                    \
    }

SHAPLEY_WAYS(shapley_plain, )
#ifdef WITH_X86
SHAPLEY_WAYS(shapley_avx2, ON_AVX2)
#endif

static void shapley_values(const Shapley *s, const double *rows, size_t count, double *scratch, double *out)
{
#ifdef WITH_X86
    if (s->level > PLAIN) {
        shapley_avx2(s, rows, count, scratch, out);
        return;
    }
#endif
    shapley_plain(s, rows, count, scratch, out);
}

#endif
