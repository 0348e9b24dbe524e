/* The fold of many assets' samples as a Python module of the stable ABI. Optional: online_many.py gives the same bits.
 *
 * fold(state, batch, out, gap_limit_min) takes three tuples of buffers, in the order of the enums below, and trusts none
 * of what indexes into another: lengths, slots and hours are checked before anything is changed.
 */
#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>
#include <math.h>
#include <stdint.h>

enum { HOURS = 24, WEEK = 168, STRIDE = 169, COUNTS = 4, SATURDAY = 5, FEATURES = 12 };
enum { NEWEST, RUN_START, SEGMENT, WAS_PLUGGED, SOC, HOUR, COUNT, STATES };
enum { SLOT, AT, B_SOC, PLUGGED, POWER, CAPACITY, CLOCK, DAY, NOW, ASKED, BATCHES };
enum { TAKEN, ROWS, OWN, ALIKE, ENDED, PLACE, OUTS };
/* The features, in the order of PLACE. */
enum { F_SOC, F_DELTA, F_LAG_1, F_LAG_2, F_LAG_3, F_SINCE, F_PLUGGED, F_IN_STATE, F_HOUR, F_DAY, F_POWER, F_CAPACITY };

static const double US_IN_MINUTE = 60e6, MILLI = 1000.0;

static const Py_ssize_t state_size[STATES] = {8, 8, 4, 1, 3 * 8, 8, STRIDE * COUNTS * 8};
static const Py_ssize_t batch_size[BATCHES] = {8, 8, 8, 1, 8, 8, 8, 8, 8, 8};
static const Py_ssize_t out_size[OUTS] = {1, FEATURES * 4, COUNTS * 8, COUNTS * 8, 8, 0};

/* Buffers of a tuple, each of `items` items; the first one says how many where items is negative. */
static int take(PyObject *tuple, Py_buffer *found, int many, const Py_ssize_t *size, Py_ssize_t *items, int writable)
{
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != many) {
        PyErr_SetString(PyExc_TypeError, "wanted three tuples of buffers and a number");
        return -1;
    }
    for (int i = 0; i < many; i++) {
        if (PyObject_GetBuffer(PyTuple_GetItem(tuple, i), found + i, PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0)))
            return -1;
        if (*items < 0)
            *items = found[i].len / size[i];
        if (size[i] && found[i].len != *items * size[i]) {
            PyErr_Format(PyExc_ValueError, "buffer %d: wanted %zd bytes, found %zd", i, *items * size[i], found[i].len);
            return -1;
        }
    }
    return 0;
}

static int check(const Py_buffer *state, const Py_buffer *batch, const Py_buffer *out, Py_ssize_t slots, Py_ssize_t n)
{
    const int64_t *slot = batch[SLOT].buf, *now = batch[NOW].buf, *asked = batch[ASKED].buf, *hour = state[HOUR].buf;
    const int64_t *place = out[PLACE].buf;
    int wrong = out[PLACE].len != FEATURES * 8;
    for (int i = 0; i < FEATURES && !wrong; i++)
        wrong = place[i] < 0 || place[i] >= FEATURES;
    for (Py_ssize_t i = 0; i < n && !wrong; i++)
        wrong = slot[i] < 0 || slot[i] >= slots || now[i] < 0 || now[i] >= WEEK || asked[i] < 0 || asked[i] >= WEEK ||
                hour[slot[i]] < -1 || hour[slot[i]] >= WEEK;
    if (wrong)
        PyErr_SetString(PyExc_ValueError, "a slot, an hour of the week or a column that is not there");
    return wrong ? -1 : 0;
}

static Py_ssize_t run(const Py_buffer *state, const Py_buffer *batch, const Py_buffer *out, Py_ssize_t slots, Py_ssize_t n,
                      double limit)
{
    int64_t *newest = state[NEWEST].buf, *run_start = state[RUN_START].buf, *hour = state[HOUR].buf, *count = state[COUNT].buf;
    int32_t *segment = state[SEGMENT].buf;
    uint8_t *was = state[WAS_PLUGGED].buf, *taken = out[TAKEN].buf;
    double *soc[3] = {state[SOC].buf, (double *)state[SOC].buf + slots, (double *)state[SOC].buf + 2 * slots};
    const int64_t *slot = batch[SLOT].buf, *at = batch[AT].buf, *day = batch[DAY].buf, *now = batch[NOW].buf;
    const int64_t *asked = batch[ASKED].buf, *place = out[PLACE].buf;
    const double *b_soc = batch[B_SOC].buf, *power = batch[POWER].buf, *capacity = batch[CAPACITY].buf, *clock = batch[CLOCK].buf;
    const uint8_t *plugged = batch[PLUGGED].buf;
    float *rows = out[ROWS].buf;
    int64_t *own = out[OWN].buf, *alike = out[ALIKE].buf, *ended = out[ENDED].buf;
    Py_ssize_t over = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        const int64_t s = slot[i];
        int64_t *mine = count + s * STRIDE * COUNTS;
        const int seen = hour[s] >= 0;
        taken[i] = at[i] > newest[s];
        if (!taken[i])
            continue;
        double since = NAN;
        if (seen) {
            int64_t *bin = mine + hour[s] * COUNTS;
            bin[0] += 1;
            bin[1] += was[s] != 0;
            if (!isnan(soc[0][s])) {
                bin[2] += 1;
                bin[3] += (int64_t)rint(soc[0][s] * MILLI);
            }
            since = (double)(at[i] - newest[s]) / US_IN_MINUTE;
            if (hour[s] != now[i])
                ended[over++] = s * 7 + hour[s] / HOURS;
        }
        const int gap = since > limit;
        const double lag[3] = {gap ? NAN : soc[0][s], gap ? NAN : soc[1][s], gap ? NAN : soc[2][s]};
        if (!seen || gap || was[s] != plugged[i])
            run_start[s] = at[i];
        float *row = rows + i * FEATURES;
        row[place[F_SOC]] = (float)b_soc[i];
        row[place[F_DELTA]] = (float)(b_soc[i] - lag[0]);
        row[place[F_LAG_1]] = (float)lag[0];
        row[place[F_LAG_2]] = (float)lag[1];
        row[place[F_LAG_3]] = (float)lag[2];
        row[place[F_SINCE]] = (float)since;
        row[place[F_PLUGGED]] = plugged[i] ? 1.0f : 0.0f;
        row[place[F_IN_STATE]] = (float)((double)(at[i] - run_start[s]) / US_IN_MINUTE);
        row[place[F_HOUR]] = (float)clock[i];
        row[place[F_DAY]] = (float)day[i];
        row[place[F_POWER]] = (float)power[i];
        row[place[F_CAPACITY]] = (float)capacity[i];
        newest[s] = at[i];
        was[s] = plugged[i];
        soc[2][s] = lag[1];
        soc[1][s] = lag[0];
        soc[0][s] = b_soc[i];
        segment[s] += gap;
        hour[s] = now[i];
        const int64_t *same = mine + asked[i] * COUNTS;
        const int64_t first = asked[i] / HOURS < SATURDAY ? 0 : SATURDAY, last = first ? 7 : SATURDAY;
        for (int k = 0; k < COUNTS; k++) {
            own[i * COUNTS + k] = same[k];
            alike[i * COUNTS + k] = 0;
            for (int64_t d = first; d < last; d++)
                alike[i * COUNTS + k] += mine[(d * HOURS + asked[i] % HOURS) * COUNTS + k];
        }
    }
    return over;
}

static PyObject *fold(PyObject *module, PyObject *args)
{
    PyObject *given[3];
    Py_buffer found[STATES + BATCHES + OUTS] = {0};
    Py_buffer *state = found, *batch = found + STATES, *out = batch + BATCHES;
    Py_ssize_t slots = -1, n = -1, over = -1;
    double limit;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOd", given, given + 1, given + 2, &limit))
        return NULL;
    if (!take(given[0], state, STATES, state_size, &slots, 1) && !take(given[1], batch, BATCHES, batch_size, &n, 0) &&
        !take(given[2], out, OUTS, out_size, &n, 1) && !check(state, batch, out, slots, n))
        over = run(state, batch, out, slots, n, limit);
    for (int i = 0; i < STATES + BATCHES + OUTS; i++)
        if (found[i].obj != NULL)
            PyBuffer_Release(found + i);
    return over < 0 ? NULL : PyLong_FromSsize_t(over);
}

static PyMethodDef methods[] = {
    {"fold", fold, METH_VARARGS, "fold(state, batch, out, gap_limit_min): fills out; returns how many pages ended."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {{0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_fold", .m_doc = "Samples of many assets, folded in C.", .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__fold(void)
{
    return PyModuleDef_Init(&module);
}
