/* Many rows through ranked trees without walking: every node is a comparison of 128 rows at once, and a select.
 *
 * From the last node of a tree to its root, a node's result is its left child's where the rank is at most the node's,
 * else its right child's; a leaf's result is its number. No branch depends on a row, and a row needs one byte, so that
 * 31 nodes cost 31 compares for 16 (SSE2, NEON), 32 (AVX2) or 64 (AVX-512) rows each. The root's result, a leaf number
 * for each row, is then looked up among the tree's leaves in registers.
 */
#ifndef PLUGCAST_SLICED_H
#define PLUGCAST_SLICED_H

#include "forest.h"

enum { BLOCK = 128, SLOTS = 256 };
enum { PLAIN = 0, AVX2 = 1, AVX512 = 2 };

typedef struct {
    _Alignas(64) uint8_t rank[MOST_RANKED_COLUMNS][BLOCK];
    _Alignas(64) uint8_t slot[SLOTS][BLOCK];
    _Alignas(64) float value[BLOCK];
    _Alignas(64) uint8_t absent[BLOCK];
    _Alignas(64) int32_t total[BLOCK];
} Sliced;

static void sliced_begin(Sliced *s)
{
    for (int leaf = 0; leaf < SLICED_LEAVES; leaf++)
        memset(s->slot[leaf], leaf, BLOCK);
}

/* A column of the block: values with missing ones settled, and where they are still missing. */
static void sliced_column(const Forest *f, const Rows *rows, size_t first, int count, int32_t column, Sliced *s)
{
    size_t feature = f->column_feature[column];
    uint8_t right = f->column_missing[column] == RIGHT ? 255 : 0;
    for (int r = 0; r < count; r++)
        s->value[r] = settled(f, column, cell(rows, first + (size_t)r, feature));
    for (int r = 0; r < count; r++)
        s->absent[r] = s->value[r] != s->value[r] ? right : 0;
}

/* ---- any machine: 16 lanes, which compilers turn into SSE2 or NEON ---- */
typedef uint8_t Lanes __attribute__((vector_size(16)));

static void ranks_plain(const Forest *f, const Rows *rows, size_t first, int count, Sliced *s)
{
    for (int32_t c = 0; c < f->columns; c++) {
        uint32_t feature = f->column_feature[c], start = f->cut_start[feature];
        sliced_column(f, rows, first, count, c, s);
        for (int r = 0; r < count; r++)
            s->rank[c][r] = rank_of(f->cuts + start, f->cut_start[feature + 1] - start, s->value[r]) | s->absent[r];
    }
}

static void trees_plain(const Forest *f, int count, Sliced *s)
{
    for (int32_t t = 0; t < f->trees; t++) {
        const SlicedNode *nodes = f->slice + f->tree[t].split;
        const int16_t *leaf = f->slice_leaf + (size_t)t * SLICED_LEAVES;
        for (int n = f->tree[t].splits - 1; n >= 0; n--) {
            Lanes bound;
            memset(&bound, nodes[n].rank, sizeof bound);
            for (int r = 0; r < count; r += 16) {
                Lanes rank = *(const Lanes *)(s->rank[nodes[n].column] + r);
                Lanes left = *(const Lanes *)(s->slot[nodes[n].left] + r);
                Lanes right = *(const Lanes *)(s->slot[nodes[n].right] + r);
                Lanes goes_left = (Lanes)(rank <= bound);
                *(Lanes *)(s->slot[SLICED_LEAVES + n] + r) = right ^ ((left ^ right) & goes_left);
            }
        }
        const uint8_t *reached = s->slot[f->tree[t].splits ? SLICED_LEAVES : 0];
        for (int r = 0; r < count; r++)
            s->total[r] += leaf[reached[r]] * f->tree[t].unit;
    }
}

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define WITH_X86 1

/* ---- AVX2: 32 lanes ---- */
#define ON_AVX2 __attribute__((target("avx2")))

ON_AVX2 static void ranks_avx2(const Forest *f, const Rows *rows, size_t first, int count, Sliced *s)
{
    for (int32_t c = 0; c < f->columns; c++) {
        const float *cut = f->cuts + f->cut_start[f->column_feature[c]];
        const float *end = f->cuts + f->cut_start[f->column_feature[c] + 1];
        sliced_column(f, rows, first, count, c, s);
        for (int r = 0; r < count; r += 32) {
            __m256 v0 = _mm256_load_ps(s->value + r), v1 = _mm256_load_ps(s->value + r + 8);
            __m256 v2 = _mm256_load_ps(s->value + r + 16), v3 = _mm256_load_ps(s->value + r + 24);
            __m256i n0 = _mm256_setzero_si256(), n1 = n0, n2 = n0, n3 = n0;
            for (const float *at = cut; at < end; at++) {
                __m256 bound = _mm256_broadcast_ss(at);
                n0 = _mm256_sub_epi32(n0, _mm256_castps_si256(_mm256_cmp_ps(bound, v0, _CMP_LT_OQ)));
                n1 = _mm256_sub_epi32(n1, _mm256_castps_si256(_mm256_cmp_ps(bound, v1, _CMP_LT_OQ)));
                n2 = _mm256_sub_epi32(n2, _mm256_castps_si256(_mm256_cmp_ps(bound, v2, _CMP_LT_OQ)));
                n3 = _mm256_sub_epi32(n3, _mm256_castps_si256(_mm256_cmp_ps(bound, v3, _CMP_LT_OQ)));
            }
            /* packing works on halves of a register; the permutation puts the rows back in order */
            __m256i low = _mm256_packus_epi32(n0, n1), high = _mm256_packus_epi32(n2, n3);
            __m256i ranks = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high),
                                                        _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            ranks = _mm256_or_si256(ranks, _mm256_load_si256((const __m256i *)(s->absent + r)));
            _mm256_store_si256((__m256i *)(s->rank[c] + r), ranks);
        }
    }
}

ON_AVX2 static inline void look_up_avx2(const int16_t *leaf, int leaves, int32_t unit, __m256i number, int32_t *total)
{
    const __m256i bytes = _mm256_set1_epi8((char)0x70), even = _mm256_setr_epi8(
        0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    __m256i low = _mm256_setzero_si256(), high = low;
    for (int from = 0; from < leaves; from += 16) {
        /* sixteen leaves as two tables of bytes; numbers of other leaves get their high bit set and give 0 */
        __m256i pair = _mm256_loadu_si256((const __m256i *)(leaf + from));
        __m256i halves = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(pair, even), 0xd8);
        __m256i lows = _mm256_permute2x128_si256(halves, halves, 0x00);
        __m256i highs = _mm256_permute2x128_si256(halves, halves, 0x11);
        __m256i mine = _mm256_adds_epu8(_mm256_sub_epi8(number, _mm256_set1_epi8((char)from)), bytes);
        low = _mm256_or_si256(low, _mm256_shuffle_epi8(lows, mine));
        high = _mm256_or_si256(high, _mm256_shuffle_epi8(highs, mine));
    }
    __m256i a = _mm256_unpacklo_epi8(low, high), b = _mm256_unpackhi_epi8(low, high);
    __m128i part[4] = {_mm256_castsi256_si128(a), _mm256_castsi256_si128(b), _mm256_extracti128_si256(a, 1),
                       _mm256_extracti128_si256(b, 1)};
    for (int k = 0; k < 4; k++) {
        __m256i *at = (__m256i *)(total + 8 * k);
        __m256i steps = _mm256_mullo_epi32(_mm256_cvtepi16_epi32(part[k]), _mm256_set1_epi32(unit));
        _mm256_store_si256(at, _mm256_add_epi32(_mm256_load_si256(at), steps));
    }
}

ON_AVX2 static void trees_avx2(const Forest *f, int count, Sliced *s)
{
    for (int32_t t = 0; t < f->trees; t++) {
        const SlicedNode *nodes = f->slice + f->tree[t].split;
        for (int n = f->tree[t].splits - 1; n >= 0; n--) {
            const uint8_t *rank = s->rank[nodes[n].column];
            const uint8_t *left = s->slot[nodes[n].left], *right = s->slot[nodes[n].right];
            uint8_t *out = s->slot[SLICED_LEAVES + n];
            __m256i bound = _mm256_set1_epi8((char)nodes[n].rank);
            for (int r = 0; r < count; r += 32) {
                __m256i value = _mm256_load_si256((const __m256i *)(rank + r));
                __m256i goes_left = _mm256_cmpeq_epi8(_mm256_min_epu8(value, bound), value);
                _mm256_store_si256((__m256i *)(out + r),
                                   _mm256_blendv_epi8(_mm256_load_si256((const __m256i *)(right + r)),
                                                      _mm256_load_si256((const __m256i *)(left + r)), goes_left));
            }
        }
        const uint8_t *reached = s->slot[f->tree[t].splits ? SLICED_LEAVES : 0];
        for (int r = 0; r < count; r += 32)
            look_up_avx2(f->slice_leaf + (size_t)t * SLICED_LEAVES, f->tree[t].leaves, f->tree[t].unit,
                         _mm256_load_si256((const __m256i *)(reached + r)), s->total + r);
    }
}

/* ---- AVX-512 with bytes: 64 lanes ---- */
#define ON_AVX512 __attribute__((target("avx512f,avx512bw")))

ON_AVX512 static void ranks_avx512(const Forest *f, const Rows *rows, size_t first, int count, Sliced *s)
{
    const __m512i one = _mm512_set1_epi32(1);
    for (int32_t c = 0; c < f->columns; c++) {
        const float *cut = f->cuts + f->cut_start[f->column_feature[c]];
        const float *end = f->cuts + f->cut_start[f->column_feature[c] + 1];
        sliced_column(f, rows, first, count, c, s);
        for (int r = 0; r < count; r += 64) {
            __m512 v0 = _mm512_load_ps(s->value + r), v1 = _mm512_load_ps(s->value + r + 16);
            __m512 v2 = _mm512_load_ps(s->value + r + 32), v3 = _mm512_load_ps(s->value + r + 48);
            __m512i n0 = _mm512_setzero_si512(), n1 = n0, n2 = n0, n3 = n0;
            for (const float *at = cut; at < end; at++) {
                __m512 bound = _mm512_set1_ps(*at);
                n0 = _mm512_mask_add_epi32(n0, _mm512_cmp_ps_mask(bound, v0, _CMP_LT_OQ), n0, one);
                n1 = _mm512_mask_add_epi32(n1, _mm512_cmp_ps_mask(bound, v1, _CMP_LT_OQ), n1, one);
                n2 = _mm512_mask_add_epi32(n2, _mm512_cmp_ps_mask(bound, v2, _CMP_LT_OQ), n2, one);
                n3 = _mm512_mask_add_epi32(n3, _mm512_cmp_ps_mask(bound, v3, _CMP_LT_OQ), n3, one);
            }
            uint8_t *out = s->rank[c] + r;
            _mm_store_si128((__m128i *)out, _mm512_cvtepi32_epi8(n0));
            _mm_store_si128((__m128i *)(out + 16), _mm512_cvtepi32_epi8(n1));
            _mm_store_si128((__m128i *)(out + 32), _mm512_cvtepi32_epi8(n2));
            _mm_store_si128((__m128i *)(out + 48), _mm512_cvtepi32_epi8(n3));
            _mm512_store_si512(out, _mm512_or_si512(_mm512_load_si512(out), _mm512_load_si512(s->absent + r)));
        }
    }
}

ON_AVX512 static inline __m512i leaves_avx512(const int16_t *leaf, int leaves, __m512i number)
{
    if (leaves <= 32)
        return _mm512_permutexvar_epi16(number, _mm512_loadu_si512(leaf));
    __m512i low = _mm512_permutex2var_epi16(_mm512_loadu_si512(leaf), number, _mm512_loadu_si512(leaf + 32));
    if (leaves <= 64)
        return low;
    __m512i high = _mm512_permutex2var_epi16(_mm512_loadu_si512(leaf + 64), number, _mm512_loadu_si512(leaf + 96));
    return _mm512_mask_blend_epi16(_mm512_cmpgt_epi16_mask(number, _mm512_set1_epi16(63)), low, high);
}

ON_AVX512 static inline void add_avx512(int32_t *total, __m512i words, __m512i unit)
{
    __m512i *first = (__m512i *)total, *second = first + 1;
    *first = _mm512_add_epi32(
        *first, _mm512_mullo_epi32(unit, _mm512_cvtepi16_epi32(_mm512_castsi512_si256(words))));
    *second = _mm512_add_epi32(
        *second, _mm512_mullo_epi32(unit, _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(words, 1))));
}

ON_AVX512 static void trees_avx512(const Forest *f, int count, Sliced *s)
{
    for (int32_t t = 0; t < f->trees; t++) {
        const SlicedNode *nodes = f->slice + f->tree[t].split;
        const int16_t *leaf = f->slice_leaf + (size_t)t * SLICED_LEAVES;
        int leaves = f->tree[t].leaves;
        for (int n = f->tree[t].splits - 1; n >= 0; n--) {
            const uint8_t *rank = s->rank[nodes[n].column];
            const uint8_t *left = s->slot[nodes[n].left], *right = s->slot[nodes[n].right];
            uint8_t *out = s->slot[SLICED_LEAVES + n];
            __m512i bound = _mm512_set1_epi8((char)nodes[n].rank);
            for (int r = 0; r < count; r += 64) {
                __mmask64 goes_left = _mm512_cmple_epu8_mask(_mm512_load_si512(rank + r), bound);
                _mm512_store_si512(out + r, _mm512_mask_blend_epi8(goes_left, _mm512_load_si512(right + r),
                                                                   _mm512_load_si512(left + r)));
            }
        }
        const uint8_t *reached = s->slot[f->tree[t].splits ? SLICED_LEAVES : 0];
        for (int r = 0; r < count; r += 32) {
            __m512i number = _mm512_cvtepu8_epi16(_mm256_load_si256((const __m256i *)(reached + r)));
            add_avx512(s->total + r, leaves_avx512(leaf, leaves, number), _mm512_set1_epi32(f->tree[t].unit));
        }
    }
}
#endif

/* The widest that this machine has. */
static int best_level(void)
{
#ifdef WITH_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
        return AVX512;
    if (__builtin_cpu_supports("avx2"))
        return AVX2;
#endif
    return PLAIN;
}

static const int LANES[] = {16, 32, 64};

/* Sums of at most BLOCK rows; count is rounded up to whole vectors, and what lies beyond the rows is not looked at. */
static void sliced_block(const Forest *f, const Rows *rows, size_t first, int count, Sliced *s)
{
    int lanes = LANES[f->level], whole = (count + lanes - 1) / lanes * lanes;
    memset(s->total, 0, sizeof s->total);
    if (count < whole) {
        memset(s->value + count, 0, sizeof(float) * (size_t)(whole - count));
        memset(s->absent + count, 0, (size_t)(whole - count));
    }
    switch (f->level) {
#ifdef WITH_X86
    case AVX512:
        ranks_avx512(f, rows, first, count, s);
        trees_avx512(f, whole, s);
        return;
    case AVX2:
        ranks_avx2(f, rows, first, count, s);
        trees_avx2(f, whole, s);
        return;
#endif
    default:
        ranks_plain(f, rows, first, count, s);
        trees_plain(f, whole, s);
    }
}

#endif
