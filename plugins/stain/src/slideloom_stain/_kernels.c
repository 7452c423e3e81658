/* Loops over pixels that numpy cannot do in one pass. `numpy_loops.py` says what they compute and gives the same bits:
 * every product, sum and quotient is rounded to float32 by itself, and what is added over pixels are whole numbers. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { CHANNELS = 3, VALUES = 256, STRIP = 1024, SAMPLED = 64, WORD = 8 };

/* A second form for processors with AVX2, chosen when the module is loaded, where the compiler and the loader can. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#define ALSO_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define ALSO_WIDE
#endif

static Py_ssize_t least_of(Py_ssize_t a, Py_ssize_t b)
{
    return a < b ? a : b;
}

static float as_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

enum { MOST_BUFFERS = 8 };

/* Buffers of a call, all released by `release`. */
typedef struct {
    Py_buffer buffer[MOST_BUFFERS];
    int count;
} Buffers;

static void release(Buffers *buffers)
{
    while (buffers->count > 0)
        PyBuffer_Release(&buffers->buffer[--buffers->count]);
}

static PyObject *refuse(Buffers *buffers, const char *message)
{
    release(buffers);
    PyErr_SetString(PyExc_ValueError, message);
    return NULL;
}

static int holds(const Py_buffer *buffer, Py_ssize_t count, size_t size)
{
    return buffer->len == count * (Py_ssize_t)size;
}

ALSO_WIDE static int64_t count_up_to(const uint8_t *restrict values, Py_ssize_t count, uint8_t limit)
{
    enum { LANES = 64, ROUNDS = 255 };
    int64_t total = 0;
    while (count >= LANES) {
        const Py_ssize_t rounds = least_of(count / LANES, ROUNDS);
        uint8_t found[LANES] = {0};
        for (Py_ssize_t round = 0; round < rounds; round++, values += LANES)
            for (int lane = 0; lane < LANES; lane++)
                found[lane] = (uint8_t)(found[lane] + (values[lane] <= limit));
        for (int lane = 0; lane < LANES; lane++)
            total += found[lane];
        count -= rounds * LANES;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        total += values[i] <= limit;
    return total;
}

/* The least value from `low` on that more than `rank` values do not exceed. */
static int value_at(const uint8_t *values, Py_ssize_t count, int64_t rank, int low)
{
    int high = VALUES - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (count_up_to(values, count, (uint8_t)middle) > rank)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static PyObject *ranked(PyObject *module, PyObject *arguments)
{
    Buffers all = {.count = 1};
    Py_ssize_t rank;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*n", &all.buffer[0], &rank))
        return NULL;
    const Py_ssize_t count = all.buffer[0].len;
    if (rank < 0 || rank >= count)
        return refuse(&all, "ranked: no value has this rank");
    const uint8_t *values = all.buffer[0].buf;
    int here, next;
    Py_BEGIN_ALLOW_THREADS
    here = next = value_at(values, count, rank, 0);
    if (rank + 1 < count && count_up_to(values, count, (uint8_t)here) <= rank + 1)
        next = value_at(values, count, rank + 1, here + 1);
    Py_END_ALLOW_THREADS
    release(&all);
    return Py_BuildValue("(ii)", here, next);
}

typedef struct {
    float red[STRIP], green[STRIP], blue[STRIP];
} Strip;

/* Table values of interleaved pixels, channel by channel; four at a time, as storing takes longer than looking up. */
static void look_up(const uint8_t *restrict rgb, Py_ssize_t count, const float *restrict table, float *restrict red,
                    float *restrict green, float *restrict blue)
{
    Py_ssize_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const uint8_t *p = rgb + CHANNELS * i;
        const float reds[4] = {table[p[0]], table[p[3]], table[p[6]], table[p[9]]};
        const float greens[4] = {table[p[1]], table[p[4]], table[p[7]], table[p[10]]};
        const float blues[4] = {table[p[2]], table[p[5]], table[p[8]], table[p[11]]};
        memcpy(red + i, reds, sizeof(reds));
        memcpy(green + i, greens, sizeof(greens));
        memcpy(blue + i, blues, sizeof(blues));
    }
    for (; i < count; i++) {
        red[i] = table[rgb[CHANNELS * i]];
        green[i] = table[rgb[CHANNELS * i + 1]];
        blue[i] = table[rgb[CHANNELS * i + 2]];
    }
}

enum { MOMENTS = 10 };

/* Adds number, sums and products of the pixels whose three values, whole numbers below 2^21, are all at least `least`.
 * A strip's sums of values fit 32 bits, those of products 64. */
ALSO_WIDE static void add_moments(const float *restrict red, const float *restrict green, const float *restrict blue,
                                   Py_ssize_t count, float least, uint64_t *restrict sums)
{
    uint32_t r[STRIP], g[STRIP], b[STRIP];
    uint32_t number = 0, of_r = 0, of_g = 0, of_b = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        const uint32_t inside = (uint32_t)((red[i] >= least) & (green[i] >= least) & (blue[i] >= least));
        const uint32_t mask = 0u - inside;
        r[i] = (uint32_t)(int32_t)red[i] & mask;
        g[i] = (uint32_t)(int32_t)green[i] & mask;
        b[i] = (uint32_t)(int32_t)blue[i] & mask;
        number += inside;
        of_r += r[i];
        of_g += g[i];
        of_b += b[i];
    }
    uint64_t rr = 0, rg = 0, rb = 0, gg = 0, gb = 0, bb = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        rr += (uint64_t)r[i] * r[i];
        rg += (uint64_t)r[i] * g[i];
        rb += (uint64_t)r[i] * b[i];
        gg += (uint64_t)g[i] * g[i];
        gb += (uint64_t)g[i] * b[i];
        bb += (uint64_t)b[i] * b[i];
    }
    const uint64_t found[MOMENTS] = {number, of_r, of_g, of_b, rr, rg, rb, gg, gb, bb};
    for (int k = 0; k < MOMENTS; k++)
        sums[k] = found[k];
}

/* Adds to numbers of 128 bits, lower half first. */
static void add_wide(uint64_t *totals, const uint64_t *sums, int count)
{
    for (int k = 0; k < count; k++) {
        totals[2 * k] += sums[k];
        totals[2 * k + 1] += totals[2 * k] < sums[k];
    }
}

static int is_table(const float *table, float most)
{
    int good = 1;
    for (int i = 0; i < VALUES; i++)
        good &= table[i] > -most && table[i] < most;
    return good;
}

static PyObject *densities(PyObject *module, PyObject *arguments)
{
    Buffers all = {.count = 4};
    float least;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*fw*w*", &all.buffer[0], &all.buffer[1], &least, &all.buffer[2],
                          &all.buffer[3]))
        return NULL;
    const Py_ssize_t count = all.buffer[0].len / CHANNELS;
    if (!holds(&all.buffer[0], count, CHANNELS) || !holds(&all.buffer[1], VALUES, sizeof(float)) ||
        !holds(&all.buffer[2], CHANNELS * count, sizeof(float)) ||
        !holds(&all.buffer[3], 2 * MOMENTS, sizeof(uint64_t)))
        return refuse(&all, "densities: the pixels, the table, the planes and the sums do not fit together");
    const float *table = all.buffer[1].buf;
    if (!is_table(table, 2097152.0f) || !(least >= 0))
        return refuse(&all, "densities: the table's values must be below 2^21, and the least tissue at least 0");
    const uint8_t *rgb = all.buffer[0].buf;
    float *planes = all.buffer[2].buf;
    uint64_t *totals = all.buffer[3].buf;
    memset(totals, 0, 2 * MOMENTS * sizeof(uint64_t));
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t start = 0; start < count; start += STRIP) {
        const Py_ssize_t now = least_of(STRIP, count - start);
        float *red = planes + start, *green = red + count, *blue = green + count;
        uint64_t sums[MOMENTS];
        look_up(rgb + CHANNELS * start, now, table, red, green, blue);
        add_moments(red, green, blue, now, least, sums);
        add_wide(totals, sums, MOMENTS);
    }
    Py_END_ALLOW_THREADS
    release(&all);
    Py_RETURN_NONE;
}

/* Two values of each pixel: its planes projected on two directions; or the quotient of both and its opposite, of those
 * pixels only that are inside. */
typedef struct {
    const float *planes;
    Py_ssize_t count;
    const float *directions; /* two of three */
    int of_quotient;
    float least, ahead;
} Projection;

ALSO_WIDE static void project(const float *restrict red, const float *restrict green, const float *restrict blue,
                               Py_ssize_t count, const float *restrict direction, float *restrict out)
{
    const float x = direction[0], y = direction[1], z = direction[2];
    for (Py_ssize_t i = 0; i < count; i++)
        out[i] = (red[i] * x + green[i] * y) + blue[i] * z;
}

/* True if some pixel inside does not lie ahead. */
ALSO_WIDE static int divide(const float *restrict red, const float *restrict green, const float *restrict blue,
                             Py_ssize_t count, float least, float ahead, float *restrict along, float *restrict across)
{
    uint32_t behind = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        const uint32_t inside = (uint32_t)((red[i] >= least) & (green[i] >= least) & (blue[i] >= least));
        const uint32_t is_ahead = (uint32_t)(along[i] > ahead);
        behind |= inside & (is_ahead ^ 1u);
        const float quotient = across[i] / (along[i] > ahead ? along[i] : ahead);
        const uint32_t nothing = (inside ^ 1u) * 0x7fc00000u; /* a NaN, which is neither above nor below anything */
        along[i] = as_float(bits_of(quotient) | nothing);
        across[i] = as_float((bits_of(quotient) ^ 0x80000000u) | nothing);
    }
    return behind != 0;
}

static int project_strip(const Projection *task, const float *red, const float *green, const float *blue,
                         Py_ssize_t count, float *a, float *b)
{
    project(red, green, blue, count, task->directions, a);
    project(red, green, blue, count, task->directions + CHANNELS, b);
    return task->of_quotient && divide(red, green, blue, count, task->least, task->ahead, a, b);
}

ALSO_WIDE static void flag(const float *restrict a, const float *restrict b, Py_ssize_t count, float least_a,
                            float least_b, uint8_t *restrict flags)
{
    for (Py_ssize_t i = 0; i < count; i++)
        flags[i] = (a[i] >= least_a) | (b[i] >= least_b);
}

/* Puts the values in such an order that those after the one at `rank`, counted from the largest, are not larger. */
static void select_largest(float *values, Py_ssize_t count, Py_ssize_t rank)
{
    Py_ssize_t low = 0, high = count - 1;
    while (low < high) {
        const float pivot = values[low + (high - low) / 2];
        Py_ssize_t i = low, j = high;
        while (i <= j) {
            while (values[i] > pivot)
                i++;
            while (values[j] < pivot)
                j--;
            if (i <= j) {
                const float held = values[i];
                values[i++] = values[j];
                values[j--] = held;
            }
        }
        if (rank <= j)
            high = j;
        else if (rank >= i)
            low = i;
        else
            break;
    }
}

enum { BUCKETS = 256, FEW = 64 };

/* Leaves at the front those values among which the ones at `rank` and after it are; the number of these, and `rank`
 * among them. Counting takes no branches, which nobody could predict. */
static Py_ssize_t narrow(float *values, Py_ssize_t count, Py_ssize_t *rank)
{
    float low = values[0], high = values[0];
    for (Py_ssize_t i = 1; i < count; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    const float scale = (BUCKETS - 1) / (high - low);
    if (!(scale > 0.0f && scale < 1e30f && high < 1e30f && low > -1e30f))
        return count;
    Py_ssize_t counts[BUCKETS] = {0};
    for (Py_ssize_t i = 0; i < count; i++)
        counts[(int)((values[i] - low) * scale)]++;
    int upper = BUCKETS - 1;
    Py_ssize_t above = 0; /* values in higher buckets */
    while (above + counts[upper] <= *rank)
        above += counts[upper--];
    int lower = upper;
    for (Py_ssize_t seen = above + counts[upper]; seen <= *rank + 1 && seen < count;)
        seen += counts[--lower];
    Py_ssize_t kept = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        const float value = values[i];
        const int bucket = (int)((value - low) * scale);
        values[kept] = value;
        kept += (bucket >= lower) & (bucket <= upper);
    }
    *rank -= above;
    return kept;
}

/* The values at `rank` and at the one after it, if there is one. */
static void two_largest(float *values, Py_ssize_t count, Py_ssize_t rank, float *found)
{
    if (count > FEW)
        count = narrow(values, count, &rank);
    select_largest(values, count, rank);
    found[0] = found[1] = values[rank];
    if (rank + 1 < count) {
        found[1] = values[rank + 1];
        for (Py_ssize_t i = rank + 2; i < count; i++)
            found[1] = values[i] > found[1] ? values[i] : found[1];
    }
}

/* Values that almost surely lie below the wanted ones: found among every 64th pixel. */
static void bounds_of(const Projection *task, Py_ssize_t margin, float *room, float *bounds)
{
    Strip strip;
    float a[STRIP], b[STRIP];
    float *sampled[2] = {room, room + task->count};
    Py_ssize_t taken = 0;
    const Py_ssize_t samples = (task->count + SAMPLED - 1) / SAMPLED;
    for (Py_ssize_t start = 0; start < samples; start += STRIP) {
        const Py_ssize_t now = least_of(STRIP, samples - start);
        for (Py_ssize_t i = 0; i < now; i++) {
            const float *pixel = task->planes + (start + i) * SAMPLED;
            strip.red[i] = pixel[0];
            strip.green[i] = pixel[task->count];
            strip.blue[i] = pixel[2 * task->count];
        }
        project_strip(task, strip.red, strip.green, strip.blue, now, a, b);
        for (Py_ssize_t i = 0; i < now; i++) {
            sampled[0][taken] = a[i];
            sampled[1][taken] = b[i];
            taken += (a[i] == a[i]) & (b[i] == b[i]); /* no NaN */
        }
    }
    for (int which = 0; which < 2; which++) {
        bounds[which] = as_float(0xff800000u);
        if (margin <= taken) {
            float two[2];
            two_largest(sampled[which], taken, margin - 1, two);
            bounds[which] = two[0];
        }
    }
}

/* Collects the values of at least `bounds`, without branches for single ones; true if some pixel does not lie ahead. */
static int collect(const Projection *task, const float *bounds, float *room, Py_ssize_t *taken)
{
    float a[STRIP + WORD], b[STRIP + WORD];
    uint8_t flags[STRIP + WORD];
    float *above[2] = {room, room + task->count};
    taken[0] = taken[1] = 0;
    /* Slopes are asked for first, right after the planes were written: their end is what the near cache still holds. */
    const Py_ssize_t strips = (task->count + STRIP - 1) / STRIP;
    for (Py_ssize_t strip = 0; strip < strips; strip++) {
        const Py_ssize_t start = (task->of_quotient ? strips - 1 - strip : strip) * STRIP;
        const Py_ssize_t now = least_of(STRIP, task->count - start);
        const float *red = task->planes + start, *green = red + task->count, *blue = green + task->count;
        if (project_strip(task, red, green, blue, now, a, b))
            return 1;
        flag(a, b, now, bounds[0], bounds[1], flags);
        memset(flags + now, 0, WORD);
        for (Py_ssize_t word = 0; word < now; word += WORD) {
            uint64_t eight;
            memcpy(&eight, flags + word, WORD);
            if (eight == 0)
                continue;
            for (Py_ssize_t i = word; i < least_of(word + WORD, now); i++) {
                above[0][taken[0]] = a[i];
                taken[0] += a[i] >= bounds[0];
                above[1][taken[1]] = b[i];
                taken[1] += b[i] >= bounds[1];
            }
        }
    }
    return 0;
}

/* For both values of the pixels, those at `rank` and the one after it. 0: found; 1: some pixel does not lie ahead;
 * -1: there are too few pixels. */
static int largest_of(const Projection *task, Py_ssize_t rank, Py_ssize_t need, Py_ssize_t margin, float *room,
                      float *found)
{
    float bounds[2];
    Py_ssize_t taken[2];
    bounds_of(task, margin, room, bounds);
    for (int attempt = 0; attempt < 2; attempt++) {
        if (collect(task, bounds, room, taken))
            return 1;
        if (taken[0] >= need && taken[1] >= need)
            break;
        bounds[0] = bounds[1] = as_float(0xff800000u);
    }
    if (taken[0] < need || taken[1] < need)
        return -1;
    for (int which = 0; which < 2; which++)
        two_largest(room + which * task->count, taken[which], rank, found + 2 * which);
    return 0;
}

static PyObject *largest(PyObject *module, PyObject *arguments)
{
    Buffers all = {.count = 4};
    Projection task = {.count = 0};
    Py_ssize_t rank, need, margin;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*pff(nnn)w*w*", &all.buffer[0], &all.buffer[1], &task.of_quotient,
                          &task.least, &task.ahead, &rank, &need, &margin, &all.buffer[2], &all.buffer[3]))
        return NULL;
    task.count = all.buffer[0].len / (Py_ssize_t)(CHANNELS * sizeof(float));
    if (!holds(&all.buffer[0], CHANNELS * task.count, sizeof(float)) ||
        !holds(&all.buffer[1], 2 * CHANNELS, sizeof(float)) || !holds(&all.buffer[2], 2 * task.count, sizeof(float)) ||
        !holds(&all.buffer[3], 4, sizeof(float)) || !(task.ahead > 0))
        return refuse(&all, "largest: the planes, the directions, the room and the result do not fit together");
    if (rank < 0 || need <= rank || need > rank + 2 || need > task.count || margin < 1)
        return refuse(&all, "largest: no pixel has this rank");
    task.planes = all.buffer[0].buf;
    task.directions = all.buffer[1].buf;
    float *room = all.buffer[2].buf, *found = all.buffer[3].buf;
    int state;
    Py_BEGIN_ALLOW_THREADS
    state = largest_of(&task, rank, need, margin, room, found);
    Py_END_ALLOW_THREADS
    if (state < 0)
        return refuse(&all, "largest: fewer pixels count than the rank asks for");
    release(&all);
    return PyBool_FromLong(state == 0);
}

enum { LANES = 4, FOURS = VALUES * LANES };

/* Rows of four factors: of the three channels of the result, and one that is not used. */
typedef struct {
    const float *red, *green, *blue;
} Factors;

/* 1.5 times 2^23: added to a number below 2^22, it leaves the nearest whole number, halves to even, in the low bits. */
static const float TO_WHOLE = 12582912.0f;

static void multiply_one(const uint8_t *rgb, const Factors *factors, uint8_t *out)
{
    for (int k = 0; k < CHANNELS; k++) {
        const float value = factors->red[LANES * rgb[0] + k] * factors->green[LANES * rgb[1] + k] *
                            factors->blue[LANES * rgb[2] + k];
        out[k] = (uint8_t)bits_of((value > 255.0f ? 255.0f : value) + TO_WHOLE);
    }
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES
#endif
#endif

#ifdef SHUFFLES
typedef float Four __attribute__((vector_size(16)));
typedef uint32_t FourBits __attribute__((vector_size(16)));
typedef uint8_t Bytes __attribute__((vector_size(16)));

static inline __attribute__((always_inline)) Four four_at(const float *rows, uint8_t row)
{
    Four four;
    memcpy(&four, rows + LANES * (size_t)row, sizeof(four));
    return four;
}
#endif

/* The pixels whose channels are products of what each channel of `rgb` has in its table: the nearest bytes. */
ALSO_WIDE static void multiply(const uint8_t *restrict rgb, Py_ssize_t count, const Factors *restrict factors,
                                uint8_t *restrict out)
{
    Py_ssize_t i = 0;
#ifdef SHUFFLES
    const Four white = {255.0f, 255.0f, 255.0f, 255.0f};
    const Four to_whole = {TO_WHOLE, TO_WHOLE, TO_WHOLE, TO_WHOLE};
    for (; i + 6 <= count; i += 4) { /* 16 bytes are written for the 12 of four pixels */
        Bytes pixel[4];
        for (int j = 0; j < 4; j++) {
            const uint8_t *from = rgb + CHANNELS * (i + j);
            Four value = four_at(factors->red, from[0]) * four_at(factors->green, from[1]);
            value *= four_at(factors->blue, from[2]);
            const FourBits above = (FourBits)(value > white);
            value = (Four)((above & (FourBits)white) | (~above & (FourBits)value));
            pixel[j] = (Bytes)(value + to_whole);
        }
        const Bytes two = __builtin_shufflevector(pixel[0], pixel[1], 0, 4, 8, 16, 20, 24, -1, -1, -1, -1, -1, -1, -1,
                                                  -1, -1, -1);
        const Bytes next = __builtin_shufflevector(pixel[2], pixel[3], 0, 4, 8, 16, 20, 24, -1, -1, -1, -1, -1, -1,
                                                   -1, -1, -1, -1);
        const Bytes all = __builtin_shufflevector(two, next, 0, 1, 2, 3, 4, 5, 16, 17, 18, 19, 20, 21, -1, -1, -1, -1);
        memcpy(out + CHANNELS * i, &all, sizeof(all));
    }
#endif
    for (; i < count; i++)
        multiply_one(rgb + CHANNELS * i, factors, out + CHANNELS * i);
}

static PyObject *multiplied(PyObject *module, PyObject *arguments)
{
    Buffers all = {.count = 3};
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*w*", &all.buffer[0], &all.buffer[1], &all.buffer[2]))
        return NULL;
    const Py_ssize_t count = all.buffer[0].len / CHANNELS;
    if (!holds(&all.buffer[0], count, CHANNELS) || !holds(&all.buffer[1], CHANNELS * FOURS, sizeof(float)) ||
        !holds(&all.buffer[2], count, CHANNELS))
        return refuse(&all, "multiplied: the pixels, the factors and the result do not fit together");
    const float *rows = all.buffer[1].buf;
    const Factors factors = {rows, rows + FOURS, rows + 2 * FOURS};
    Py_BEGIN_ALLOW_THREADS
    multiply(all.buffer[0].buf, count, &factors, all.buffer[2].buf);
    Py_END_ALLOW_THREADS
    release(&all);
    Py_RETURN_NONE;
}

/* Numbers beside each other in a vector where the compiler has them, else one. */
#ifdef __GNUC__
enum { WIDTH = 8 };
typedef float Lanes __attribute__((vector_size(32)));
typedef int32_t Bits __attribute__((vector_size(32)));
#define INLINE static inline __attribute__((always_inline))
#define BITS_OF(lanes) ((Bits)(lanes))
#define LANES_OF(bits) ((Lanes)(bits))
#define TO_LANES(bits) __builtin_convertvector(bits, Lanes)
#define TO_WHOLE_NUMBERS(lanes) __builtin_convertvector(lanes, Bits)
#define LOOK_UP(table, p)                                                                            \
    ((Lanes){(table)[(p)[0]], (table)[(p)[3]], (table)[(p)[6]], (table)[(p)[9]], (table)[(p)[12]], \
             (table)[(p)[15]], (table)[(p)[18]], (table)[(p)[21]]})
#define ALL(value) ((Lanes){value, value, value, value, value, value, value, value})
#define CHOOSE(condition, yes, no) ((Lanes)(((condition) & (Bits)(yes)) | (~(condition) & (Bits)(no))))
#else
enum { WIDTH = 1 };
typedef float Lanes;
typedef int32_t Bits;
#define INLINE static
#define BITS_OF(lanes) ((int32_t)bits_of(lanes))
#define LANES_OF(bits) as_float((uint32_t)(bits))
#define TO_LANES(bits) ((float)(bits))
#define TO_WHOLE_NUMBERS(lanes) ((int32_t)(lanes))
#define LOOK_UP(table, p) ((table)[(p)[0]])
#define ALL(value) (value)
#define CHOOSE(condition, yes, no) ((condition) ? (yes) : (no))
#endif

/* What roots and light need, in the order of `slideloom_stain.lab`. */
typedef struct {
    float to_xyz[CHANNELS][CHANNELS];
    float least, third, term[5], toe_end, toe_slope, toe_start; /* of light to its root */
    float root_toe_end, root_toe_slope, root_toe_start;         /* of a root to its light */
    float from_xyz[CHANNELS][CHANNELS];
    float darkest;
} Lab;

enum { GUESS = 0x54a20000, INDEX_SHIFT = 12, LAB_FLOATS = sizeof(Lab) / sizeof(float), LAB_MOMENTS = 7 };

/* Cube roots: a guess at 1 / root from the exponent, within 4%, and a polynomial in what is missing. */
INLINE Lanes root_of(Lanes red, Lanes green, Lanes blue, const float *row, const Lab *lab, int with_toe)
{
    const Lanes light = (red * row[0] + green * row[1]) + blue * row[2];
    const Lanes bright = with_toe ? CHOOSE(light > ALL(lab->least), light, ALL(lab->least)) : light;
    const Bits exponent = TO_WHOLE_NUMBERS(TO_LANES(BITS_OF(bright)) * lab->third);
    const Lanes guess = LANES_OF(GUESS - exponent), square = bright * (guess * guess), rest = 1.0f - square * guess;
    const float *p = lab->term;
    const Lanes part = (((p[4] * rest + p[3]) * rest + p[2]) * rest + p[1]) * rest + p[0];
    if (!with_toe)
        return square * part;
    return CHOOSE(light > ALL(lab->toe_end), square * part, light * ALL(lab->toe_slope) + ALL(lab->toe_start));
}

/* The roots of X, Y and Z of pixels, `WIDTH` at a time. Looking up and arithmetic stand in one loop because processors do
 * both at once. */
INLINE void roots_beside(const uint8_t *restrict rgb, Py_ssize_t count, const float *restrict table, const Lab *from,
                         int with_toe, float *restrict x, float *restrict y, float *restrict z)
{
    const Lab lab = *from;
    for (Py_ssize_t i = 0; i < count; i += WIDTH) {
        const uint8_t *pixels = rgb + CHANNELS * i;
        const Lanes red = LOOK_UP(table, pixels), green = LOOK_UP(table, pixels + 1), blue = LOOK_UP(table, pixels + 2);
        const Lanes of_x = root_of(red, green, blue, lab.to_xyz[0], &lab, with_toe);
        const Lanes of_y = root_of(red, green, blue, lab.to_xyz[1], &lab, with_toe);
        const Lanes of_z = root_of(red, green, blue, lab.to_xyz[2], &lab, with_toe);
        memcpy(x + i, &of_x, sizeof(Lanes));
        memcpy(y + i, &of_y, sizeof(Lanes));
        memcpy(z + i, &of_z, sizeof(Lanes));
    }
}

ALSO_WIDE static void bright_roots(const uint8_t *restrict rgb, Py_ssize_t count, const float *restrict table,
                                    const Lab *lab, float *restrict x, float *restrict y, float *restrict z)
{
    roots_beside(rgb, count, table, lab, 0, x, y, z);
}

ALSO_WIDE static void roots_with_toe(const uint8_t *restrict rgb, Py_ssize_t count, const float *restrict table,
                                      const Lab *lab, float *restrict x, float *restrict y, float *restrict z)
{
    roots_beside(rgb, count, table, lab, 1, x, y, z);
}

/* The roots of a strip, the pixels after the last whole `WIDTH` in a copy that repeats the last one. */
static void roots_of_strip(const uint8_t *rgb, Py_ssize_t count, const float *table, const Lab *lab, int with_toe,
                           float *x, float *y, float *z)
{
    const Py_ssize_t whole = count - count % WIDTH, rest = count - whole;
    void (*roots_in)(const uint8_t *, Py_ssize_t, const float *, const Lab *, float *, float *, float *) =
        with_toe ? roots_with_toe : bright_roots;
    roots_in(rgb, whole, table, lab, x, y, z);
    if (rest > 0) {
        uint8_t last[CHANNELS * WIDTH];
        float roots[CHANNELS][WIDTH];
        for (Py_ssize_t i = 0; i < WIDTH; i++)
            memcpy(last + CHANNELS * i, rgb + CHANNELS * least_of(whole + i, count - 1), CHANNELS);
        roots_in(last, WIDTH, table, lab, roots[0], roots[1], roots[2]);
        memcpy(x + whole, roots[0], (size_t)rest * sizeof(float));
        memcpy(y + whole, roots[1], (size_t)rest * sizeof(float));
        memcpy(z + whole, roots[2], (size_t)rest * sizeof(float));
    }
}

/* The least value such that it and all above it have light well above the toe of the root: that of X, Y and Z is a
 * mean of the channels'. 256: there is none. */
static int above_toe(const float *table, float toe_end)
{
    int least = VALUES;
    while (least > 0 && table[least - 1] >= toe_end * 1.001f)
        least--;
    return least;
}

ALSO_WIDE static int has_below(const uint8_t *restrict values, Py_ssize_t count, int least)
{
    if (least > VALUES - 1)
        return 1;
    const uint8_t limit = (uint8_t)least;
    uint8_t found = 0;
    for (Py_ssize_t i = 0; i < count; i++)
        found |= (uint8_t)(values[i] < limit);
    return found;
}

/* Adds the number of pixels of tissue; and of those that count the sums of the roots of X, Y and Z, and the sums of
 * squares of Y, X - Y and Y - Z, all in units of 2^-20. */
ALSO_WIDE static void add_lab_moments(const float *restrict x, const float *restrict y, const float *restrict z,
                                       Py_ssize_t count, float limit, int on_tissue, uint64_t *restrict sums)
{
    const uint32_t every = on_tissue ? 0u : ~0u, eight = bits_of(8.0f);
    uint32_t tissue = 0, of_y = 0, of_first = 0, of_second = 0;
    int64_t squares[CHANNELS] = {0, 0, 0};
    for (Py_ssize_t i = 0; i < count; i++) {
        const uint32_t inside = 0u - (uint32_t)(y[i] < limit), mask = inside | every;
        /* The last bit of a number from 8 to 16 is 2^-20. */
        const uint32_t a = bits_of(x[i] + 8.0f), b = bits_of(y[i] + 8.0f), c = bits_of(z[i] + 8.0f);
        const int32_t light = (int32_t)((b - eight) & mask);
        const int32_t first = (int32_t)((a - b) & mask), second = (int32_t)((b - c) & mask);
        tissue -= inside;
        of_y += (uint32_t)light;
        of_first += (uint32_t)first;
        of_second += (uint32_t)second;
        squares[0] += (int64_t)light * light;
        squares[1] += (int64_t)first * first;
        squares[2] += (int64_t)second * second;
    }
    sums[0] = tissue;
    sums[1] = of_y + of_first; /* differences may be negative; with them the sums are right again modulo 2^32 */
    sums[2] = of_y;
    sums[3] = of_y - of_second;
    for (int k = 0; k < CHANNELS; k++)
        sums[4 + k] = (uint64_t)squares[k];
}

static PyObject *roots(PyObject *module, PyObject *arguments)
{
    Buffers all = {.count = 5};
    float limit;
    int on_tissue;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*y*fpw*w*", &all.buffer[0], &all.buffer[1], &all.buffer[2], &limit,
                          &on_tissue, &all.buffer[3], &all.buffer[4]))
        return NULL;
    const Py_ssize_t count = all.buffer[0].len / CHANNELS;
    if (!holds(&all.buffer[0], count, CHANNELS) || !holds(&all.buffer[1], VALUES, sizeof(float)) ||
        !holds(&all.buffer[2], LAB_FLOATS, sizeof(float)) || !holds(&all.buffer[3], CHANNELS * count, sizeof(float)) ||
        !holds(&all.buffer[4], 2 * LAB_MOMENTS, sizeof(uint64_t)))
        return refuse(&all, "roots: the pixels, the tables, the planes and the sums do not fit together");
    const float *table = all.buffer[1].buf;
    if (!is_table(table, 1.001f))
        return refuse(&all, "roots: the table's values must be light, 0 to 1");
    const uint8_t *rgb = all.buffer[0].buf;
    const Lab *lab = all.buffer[2].buf;
    float *planes = all.buffer[3].buf;
    uint64_t *totals = all.buffer[4].buf;
    const int least = above_toe(table, lab->toe_end);
    memset(totals, 0, 2 * LAB_MOMENTS * sizeof(uint64_t));
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t start = 0; start < count; start += STRIP) {
        const Py_ssize_t now = least_of(STRIP, count - start);
        uint64_t sums[LAB_MOMENTS];
        float *plane = planes + start;
        const uint8_t *pixels = rgb + CHANNELS * start;
        const int with_toe = has_below(pixels, CHANNELS * now, least);
        roots_of_strip(pixels, now, table, lab, with_toe, plane, plane + count, plane + 2 * count);
        add_lab_moments(plane, plane + count, plane + 2 * count, now, limit, on_tissue, sums);
        add_wide(totals, sums, LAB_MOMENTS);
    }
    Py_END_ALLOW_THREADS
    release(&all);
    Py_RETURN_NONE;
}

/* The light of roots after an affine change. */
INLINE Lanes light_of(Lanes x, Lanes y, Lanes z, const float *row, const Lab *lab)
{
    const Lanes moved = ((x * row[0] + y * row[1]) + z * row[2]) + ALL(row[3]);
    const Lanes toe = moved * ALL(lab->root_toe_slope) + ALL(lab->root_toe_start);
    return CHOOSE(moved > ALL(lab->root_toe_end), moved * moved * moved, toe);
}

/* Indices of a table of greys, finer where it is dark: the exponent and 11 bits of the light of a channel. */
INLINE Bits index_of(Lanes x, Lanes y, Lanes z, const float *row, float darkest)
{
    Lanes light = (x * row[0] + y * row[1]) + z * row[2];
    light = CHOOSE(light > ALL(darkest), light, ALL(darkest));
    light = CHOOSE(light < ALL(1.0f), light, ALL(1.0f));
    return (BITS_OF(light) - BITS_OF(ALL(darkest))) >> INDEX_SHIFT;
}

enum { BEHIND = 2, HELD = 4 };

INLINE void write_greys(const int32_t (*restrict index)[WIDTH], const uint8_t *restrict greys, uint8_t *restrict out)
{
    int i = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; i + 1 < WIDTH; i++) { /* four bytes at once; the next pixel overwrites the fourth */
        const uint32_t pixel = greys[index[0][i]] | (uint32_t)greys[index[1][i]] << 8 | (uint32_t)greys[index[2][i]] << 16;
        memcpy(out + CHANNELS * i, &pixel, sizeof(pixel));
    }
#endif
    for (; i < WIDTH; i++)
        for (int k = 0; k < CHANNELS; k++)
            out[CHANNELS * i + k] = greys[index[k][i]];
}

/* The colours of roots after an affine change, `WIDTH` at a time. Greys are looked up two steps behind, so that the
 * processor does it beside the arithmetic, and does not wait for indices on their way through memory. */
ALSO_WIDE static void whole_colours(const float *restrict x, const float *restrict y, const float *restrict z,
                                     Py_ssize_t count, const float *restrict affine, const Lab *restrict from,
                                     const uint8_t *restrict greys, uint8_t *restrict out)
{
    const Lab lab = *from;
    int32_t index[HELD][CHANNELS][WIDTH];
    float change[CHANNELS * LANES];
    memcpy(change, affine, sizeof(change));
    for (Py_ssize_t i = 0; i < count + BEHIND * WIDTH; i += WIDTH) {
        if (i < count) {
            Lanes of_x, of_y, of_z;
            memcpy(&of_x, x + i, sizeof(Lanes));
            memcpy(&of_y, y + i, sizeof(Lanes));
            memcpy(&of_z, z + i, sizeof(Lanes));
            const Lanes light_x = light_of(of_x, of_y, of_z, change, &lab);
            const Lanes light_y = light_of(of_x, of_y, of_z, change + LANES, &lab);
            const Lanes light_z = light_of(of_x, of_y, of_z, change + 2 * LANES, &lab);
            for (int k = 0; k < CHANNELS; k++) {
                const Bits found = index_of(light_x, light_y, light_z, lab.from_xyz[k], lab.darkest);
                memcpy(index[i / WIDTH % HELD][k], &found, sizeof(Bits));
            }
        }
        const Py_ssize_t before = i - BEHIND * WIDTH;
        if (before >= 0)
            write_greys((const int32_t(*)[WIDTH])index[before / WIDTH % HELD], greys, out + CHANNELS * before);
    }
}

static void colours_of_strip(const float *x, const float *y, const float *z, Py_ssize_t count, const float *change,
                             const Lab *lab, const uint8_t *greys, uint8_t *out)
{
    const Py_ssize_t whole = count - count % WIDTH, rest = count - whole;
    whole_colours(x, y, z, whole, change, lab, greys, out);
    if (rest > 0) {
        float roots[CHANNELS][WIDTH] = {{0}};
        uint8_t last[CHANNELS * WIDTH];
        memcpy(roots[0], x + whole, (size_t)rest * sizeof(float));
        memcpy(roots[1], y + whole, (size_t)rest * sizeof(float));
        memcpy(roots[2], z + whole, (size_t)rest * sizeof(float));
        whole_colours(roots[0], roots[1], roots[2], WIDTH, change, lab, greys, last);
        memcpy(out + CHANNELS * whole, last, (size_t)(CHANNELS * rest));
    }
}

ALSO_WIDE static void flag_white(const float *restrict y, Py_ssize_t count, float limit, uint8_t *restrict flags)
{
    for (Py_ssize_t i = 0; i < count; i++)
        flags[i] = y[i] >= limit;
}

/* Writes the pixels of white after the brightness table. */
static void keep_white(const float *y, Py_ssize_t count, float limit, const uint8_t *rgb, const uint8_t *bright,
                       uint8_t *out)
{
    uint8_t flags[STRIP + WORD];
    flag_white(y, count, limit, flags);
    memset(flags + count, 0, WORD);
    for (Py_ssize_t word = 0; word < count; word += WORD) {
        uint64_t eight;
        memcpy(&eight, flags + word, WORD);
        for (Py_ssize_t i = word; eight != 0 && i < word + WORD; i++)
            for (int k = 0; flags[i] && k < CHANNELS; k++)
                out[CHANNELS * i + k] = bright[rgb[CHANNELS * i + k]];
    }
}

static PyObject *colours(PyObject *module, PyObject *arguments)
{
    Buffers all = {.count = 7};
    float limit;
    int masked;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*pfy*y*w*", &all.buffer[0], &all.buffer[1], &all.buffer[2],
                          &all.buffer[3], &masked, &limit, &all.buffer[4], &all.buffer[5], &all.buffer[6]))
        return NULL;
    const Py_ssize_t count = all.buffer[6].len / CHANNELS;
    const Lab *lab = all.buffer[1].buf;
    if (!holds(&all.buffer[0], CHANNELS * count, sizeof(float)) || !holds(&all.buffer[1], LAB_FLOATS, sizeof(float)) ||
        !holds(&all.buffer[2], CHANNELS * LANES, sizeof(float)) || !holds(&all.buffer[4], count, CHANNELS) ||
        !holds(&all.buffer[5], VALUES, 1) || !holds(&all.buffer[6], count, CHANNELS) || !(lab->darkest > 0) ||
        all.buffer[3].len != (Py_ssize_t)((bits_of(1.0f) - bits_of(lab->darkest)) >> INDEX_SHIFT) + 1)
        return refuse(&all, "colours: the roots, the tables, the pixels and the result do not fit together");
    const float *planes = all.buffer[0].buf, *change = all.buffer[2].buf;
    const uint8_t *greys = all.buffer[3].buf, *rgb = all.buffer[4].buf, *bright = all.buffer[5].buf;
    uint8_t *out = all.buffer[6].buf;
    Py_BEGIN_ALLOW_THREADS
    /* From the end, which is what the near cache still holds of the roots. */
    for (Py_ssize_t strip_number = (count + STRIP - 1) / STRIP; strip_number > 0; strip_number--) {
        const Py_ssize_t start = (strip_number - 1) * STRIP;
        const Py_ssize_t now = least_of(STRIP, count - start);
        const float *x = planes + start, *y = x + count, *z = y + count;
        uint8_t *pixels = out + CHANNELS * start;
        colours_of_strip(x, y, z, now, change, lab, greys, pixels);
        if (masked)
            keep_white(y, now, limit, rgb + CHANNELS * start, bright, pixels);
    }
    Py_END_ALLOW_THREADS
    release(&all);
    Py_RETURN_NONE;
}

enum { MAPS = 4, BESIDE = 8, PRODUCTS = 9 };

/* The sparse strengths of two stains: the lesser of two affine maps of the densities, at least 0. */
ALSO_WIDE static void strengths_of(const float *restrict red, const float *restrict green, const float *restrict blue,
                                    Py_ssize_t count, const float *restrict free, const float *restrict alone,
                                    float *restrict out)
{
    const float x = free[0], y = free[1], z = free[2], w = free[3];
    const float a = alone[0], b = alone[1], c = alone[2], d = alone[3];
    for (Py_ssize_t i = 0; i < count; i++) {
        const float first = ((red[i] * x + green[i] * y) + blue[i] * z) + w;
        const float second = ((red[i] * a + green[i] * b) + blue[i] * c) + d;
        const float lesser = first < second ? first : second;
        out[i] = lesser > 0.0f ? lesser : 0.0f;
    }
}

#ifdef __GNUC__
typedef float Eight __attribute__((vector_size(32)));
#define EIGHT_AT(name, from) \
    Eight name;              \
    memcpy(&name, (from) + i, sizeof(name))
#define ADD_PRODUCTS(sum, a, b) sum += a * b
#else
typedef struct {
    float value[BESIDE];
} Eight;
#define EIGHT_AT(name, from) const float *name = (from) + i
#define ADD_PRODUCTS(sum, a, b)        \
    for (int j = 0; j < BESIDE; j++) \
    sum.value[j] += a[j] * b[j]
#endif

/* Sums of products of `a` with five others, in eight sums side by side, as numpy adds rows of eight. Written out, as
 * compilers shuffle what they make of plain loops. */
ALSO_WIDE static void multiply_add(const float *restrict a, const float *restrict b, const float *restrict c,
                                    const float *restrict d, const float *restrict e, const float *restrict f,
                                    float *restrict sums)
{
    Eight with_b = {0}, with_c = {0}, with_d = {0}, with_e = {0}, with_f = {0};
    for (Py_ssize_t i = 0; i < STRIP; i += BESIDE) {
        EIGHT_AT(of_a, a);
        EIGHT_AT(of_b, b);
        EIGHT_AT(of_c, c);
        EIGHT_AT(of_d, d);
        EIGHT_AT(of_e, e);
        EIGHT_AT(of_f, f);
        ADD_PRODUCTS(with_b, of_a, of_b);
        ADD_PRODUCTS(with_c, of_a, of_c);
        ADD_PRODUCTS(with_d, of_a, of_d);
        ADD_PRODUCTS(with_e, of_a, of_e);
        ADD_PRODUCTS(with_f, of_a, of_f);
    }
    const Eight all[5] = {with_b, with_c, with_d, with_e, with_f};
    memcpy(sums, all, sizeof(all));
}

/* Sums over all densities: of the first strength's products with itself, the second and R, G, B; and of the second's
 * with itself and R, G, B. */
static void add_products(const float *planes, Py_ssize_t count, const float *maps, double *totals)
{
    memset(totals, 0, PRODUCTS * sizeof(double));
    for (Py_ssize_t start = 0; start < count; start += STRIP) {
        const float *red = planes + start, *green = red + count, *blue = green + count;
        float first[STRIP], second[STRIP], sums[2 * 5 * BESIDE];
        strengths_of(red, green, blue, STRIP, maps, maps + 2 * LANES, first);
        strengths_of(red, green, blue, STRIP, maps + LANES, maps + 3 * LANES, second);
        multiply_add(first, first, second, red, green, blue, sums);
        multiply_add(second, second, red, green, blue, blue, sums + 5 * BESIDE);
        for (int k = 0; k < PRODUCTS; k++)
            for (int j = 0; j < BESIDE; j++)
                totals[k] += (double)sums[BESIDE * k + j];
    }
}

static double dot(const double *a, const double *b)
{
    return (a[0] * b[0] + a[1] * b[1]) + a[2] * b[2];
}

/* Both maps of both stains to strengths; 0 if the stains are parallel or nothing. */
static int maps_of(const double *first, const double *second, double penalty, float *maps)
{
    const double a = dot(first, first), b = dot(first, second), c = dot(second, second), det = a * c - b * b;
    if (!(a > 0 && c > 0 && det > 0))
        return 0;
    for (int k = 0; k < CHANNELS; k++) {
        maps[k] = (float)((c * first[k] - b * second[k]) / det);
        maps[LANES + k] = (float)((a * second[k] - b * first[k]) / det);
        maps[2 * LANES + k] = (float)(first[k] / a);
        maps[3 * LANES + k] = (float)(second[k] / c);
    }
    maps[CHANNELS] = (float)((b - c) * penalty / det);
    maps[LANES + CHANNELS] = (float)((b - a) * penalty / det);
    maps[2 * LANES + CHANNELS] = (float)(-penalty / a);
    maps[3 * LANES + CHANNELS] = (float)(-penalty / c);
    return 1;
}

/* The best row while the other one is kept: not negative, and of at most unit length. */
static void improve(double *row, const double *other, const double *pull, double with_itself, double with_other)
{
    double wanted[CHANNELS];
    if (!(with_itself > 1e-12)) /* a stain without strength is not changed */
        return;
    for (int k = 0; k < CHANNELS; k++) {
        const double free = (pull[k] - with_other * other[k]) / with_itself;
        wanted[k] = free > 0 ? free : 0;
    }
    const double length = sqrt(dot(wanted, wanted));
    for (int k = 0; k < CHANNELS; k++)
        row[k] = wanted[k] / (length > 1 ? length : 1);
}

static void learn(const float *planes, Py_ssize_t count, double penalty, int rounds, int passes, double *stains)
{
    double *first = stains, *second = stains + CHANNELS;
    float maps[MAPS * LANES];
    double sums[PRODUCTS], before[2 * CHANNELS];
    for (int round = 0; round < rounds && maps_of(first, second, penalty, maps); round++) {
        add_products(planes, count, maps, sums);
        memcpy(before, stains, sizeof(before));
        for (int pass = 0; pass < passes; pass++) {
            improve(first, second, sums + 2, sums[0], sums[1]);
            improve(second, first, sums + 6, sums[5], sums[1]);
        }
        double change = 0;
        for (int k = 0; k < 2 * CHANNELS; k++)
            change = fabs(stains[k] - before[k]) > change ? fabs(stains[k] - before[k]) : change;
        if (change < 1e-6)
            break;
    }
}

static PyObject *learned(PyObject *module, PyObject *arguments)
{
    Buffers all = {.count = 2};
    double penalty;
    int rounds, passes;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*diiw*", &all.buffer[0], &penalty, &rounds, &passes, &all.buffer[1]))
        return NULL;
    const Py_ssize_t count = all.buffer[0].len / (Py_ssize_t)(CHANNELS * sizeof(float));
    if (count % STRIP != 0 || !holds(&all.buffer[0], CHANNELS * count, sizeof(float)) ||
        !holds(&all.buffer[1], 2 * CHANNELS, sizeof(double)))
        return refuse(&all, "learned: the densities and the stains do not fit together");
    const float *planes = all.buffer[0].buf;
    double *stains = all.buffer[1].buf;
    Py_BEGIN_ALLOW_THREADS
    learn(planes, count, penalty, rounds, passes, stains);
    Py_END_ALLOW_THREADS
    release(&all);
    Py_RETURN_NONE;
}

static int32_t luminance_of(const uint8_t *rgb, const int32_t *parts)
{
    return parts[rgb[0]] + parts[VALUES + rgb[1]] + parts[2 * VALUES + rgb[2]];
}

static int are_parts(const Py_buffer *buffer)
{
    if (!holds(buffer, CHANNELS * VALUES, sizeof(int32_t)))
        return 0;
    int good = 1;
    const int32_t *parts = buffer->buf;
    for (int i = 0; i < CHANNELS * VALUES; i++)
        good &= parts[i] >= 0 && parts[i] <= 1 << 28;
    return good;
}

static PyObject *darker(PyObject *module, PyObject *arguments)
{
    Buffers all = {.count = 3};
    int limit;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*iw*", &all.buffer[0], &all.buffer[1], &limit, &all.buffer[2]))
        return NULL;
    const Py_ssize_t count = all.buffer[2].len;
    if (!holds(&all.buffer[0], count, CHANNELS) || !are_parts(&all.buffer[1]))
        return refuse(&all, "darker: the pixels, the parts of the luminance and the result do not fit together");
    const uint8_t *rgb = all.buffer[0].buf;
    uint8_t *out = all.buffer[2].buf;
    const int32_t *parts = all.buffer[1].buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++)
        out[i] = luminance_of(rgb + CHANNELS * i, parts) < limit;
    Py_END_ALLOW_THREADS
    release(&all);
    Py_RETURN_NONE;
}

enum { POWERS = 5 };

/* 255 times 2 to the power of the sum of two strengths, each times a number, as the nearest byte. */
ALSO_WIDE static void expose(const float *restrict first, const float *restrict second, Py_ssize_t count, float x,
                              float y, const float *restrict p, uint8_t *restrict out)
{
    const float p0 = p[0], p1 = p[1], p2 = p[2], p3 = p[3], p4 = p[4];
    for (Py_ssize_t i = 0; i < count; i++) {
        float power = first[i] * x + second[i] * y;
        power = power > -100.0f ? power : -100.0f;
        power = power < 0.0f ? power : 0.0f;
        const float shifted = power + TO_WHOLE;
        const float rest = power - (shifted - TO_WHOLE);
        const float part = (((p4 * rest + p3) * rest + p2) * rest + p1) * rest + p0;
        const float value = as_float(bits_of(part) + (bits_of(shifted) << 23)) * 255.0f;
        out[i] = (uint8_t)bits_of(value + TO_WHOLE);
    }
}

ALSO_WIDE static void interleave(const uint8_t *restrict red, const uint8_t *restrict green,
                                  const uint8_t *restrict blue, Py_ssize_t count, uint8_t *restrict out)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        out[3 * i] = red[i];
        out[3 * i + 1] = green[i];
        out[3 * i + 2] = blue[i];
    }
}

static PyObject *separated(PyObject *module, PyObject *arguments)
{
    Buffers all = {.count = 8};
    int limit;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*iy*w*", &all.buffer[0], &all.buffer[1], &all.buffer[2],
                          &all.buffer[3], &all.buffer[4], &all.buffer[5], &limit, &all.buffer[6], &all.buffer[7]))
        return NULL;
    const Py_ssize_t count = all.buffer[7].len / CHANNELS;
    if (!holds(&all.buffer[0], count, CHANNELS) || !holds(&all.buffer[1], VALUES, sizeof(float)) ||
        !holds(&all.buffer[2], MAPS * LANES, sizeof(float)) || !holds(&all.buffer[3], 2 * CHANNELS, sizeof(float)) ||
        !holds(&all.buffer[4], POWERS, sizeof(float)) || !are_parts(&all.buffer[5]) ||
        !holds(&all.buffer[6], VALUES, 1) || !holds(&all.buffer[7], count, CHANNELS))
        return refuse(&all, "separated: the pixels, the tables and the result do not fit together");
    const uint8_t *rgb = all.buffer[0].buf, *bright = all.buffer[6].buf;
    const float *table = all.buffer[1].buf, *maps = all.buffer[2].buf, *stains = all.buffer[3].buf;
    const float *powers = all.buffer[4].buf;
    const int32_t *parts = all.buffer[5].buf;
    uint8_t *out = all.buffer[7].buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t start = 0; start < count; start += STRIP) {
        const Py_ssize_t now = least_of(STRIP, count - start);
        const uint8_t *from = rgb + CHANNELS * start;
        Strip strip;
        float first[STRIP], second[STRIP];
        uint8_t channel[CHANNELS][STRIP];
        look_up(from, now, table, strip.red, strip.green, strip.blue);
        strengths_of(strip.red, strip.green, strip.blue, now, maps, maps + 2 * LANES, first);
        strengths_of(strip.red, strip.green, strip.blue, now, maps + LANES, maps + 3 * LANES, second);
        for (int k = 0; k < CHANNELS; k++)
            expose(first, second, now, stains[k], stains[CHANNELS + k], powers, channel[k]);
        interleave(channel[0], channel[1], channel[2], now, out + CHANNELS * start);
        for (Py_ssize_t i = 0; i < CHANNELS * now; i += CHANNELS) {
            if (luminance_of(from + i, parts) < limit)
                continue;
            for (int k = 0; k < CHANNELS; k++)
                out[CHANNELS * start + i + k] = bright[from[i + k]];
        }
    }
    Py_END_ALLOW_THREADS
    release(&all);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"ranked", ranked, METH_VARARGS, "ranked(values, rank): see slideloom_stain.numpy_loops"},
    {"densities", densities, METH_VARARGS, "densities(rgb, table, least, planes, sums): likewise"},
    {"largest", largest, METH_VARARGS, "largest(planes, directions, of_quotient, least, ahead, ranks, room, found)"},
    {"multiplied", multiplied, METH_VARARGS, "multiplied(rgb, factors, out): likewise"},
    {"roots", roots, METH_VARARGS, "roots(rgb, table, lab, limit, on_tissue, planes, sums): likewise"},
    {"colours", colours, METH_VARARGS, "colours(planes, lab, change, greys, masked, limit, rgb, bright, out): likewise"},
    {"darker", darker, METH_VARARGS, "darker(rgb, parts, limit, out): likewise"},
    {"learned", learned, METH_VARARGS, "learned(planes, penalty, rounds, passes, stains): likewise"},
    {"separated", separated, METH_VARARGS,
     "separated(rgb, table, maps, stains, powers, parts, limit, bright, out): likewise"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "slideloom_stain._kernels",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
