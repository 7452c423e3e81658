/* Loops over pixels that numpy cannot do in one pass. `linear.py`, `area.py` and `gray.py` say what they compute and do
 * the same in numpy. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>
#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#endif

enum { CHANNELS = 3, WHITE = 255, CACHE_LINE = 64 };

/* Decoded tiles have left the near cache by the time they are used, and processors do not fetch ahead across pages. */
#ifdef __GNUC__
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)(address))
#endif
enum { ROWS_AHEAD = 3 };

/* A second form for processors with AVX2, chosen when the module is loaded, where the compiler and the loader can. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#define ALSO_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define ALSO_WIDE
#endif

#define FETCH_AHEAD(start, bytes)                                  \
    for (Py_ssize_t byte = 0; byte < (bytes); byte += CACHE_LINE) \
    PREFETCH((start) + byte)

typedef struct {
    int32_t start;  /* first output sample of the run */
    int32_t end;    /* the one after the last */
    int32_t offset; /* source sample minus output sample, which is the same throughout a run */
} Run;

/* Source tiles side by side, and the window in them that is resampled. */
typedef struct {
    const uint8_t **tiles; /* row by row; NULL is a tile of background */
    Py_ssize_t columns, tile_height, tile_width;
    Py_ssize_t left, top, width, height; /* of the window */
    Py_ssize_t right, bottom;            /* where the image ends: background from there */
} Mosaic;

/* One row of the window, and behind it its last pixel once more: in place where it can be, else put together. */
static const uint8_t *source_row(const Mosaic *mosaic, Py_ssize_t row, int needs_more, uint8_t *scratch)
{
    const Py_ssize_t y = mosaic->top + row, width = mosaic->tile_width;
    const Py_ssize_t first = mosaic->left / width, last = (mosaic->left + mosaic->width - 1) / width;
    const uint8_t **tiles = mosaic->tiles + y / mosaic->tile_height * mosaic->columns;
    const Py_ssize_t in_tile = y % mosaic->tile_height * width;
    const Py_ssize_t end = mosaic->left + mosaic->width;
    const Py_ssize_t ahead = y % mosaic->tile_height + ROWS_AHEAD < mosaic->tile_height ? ROWS_AHEAD * width : 0;

    if (first == last && tiles[first] != NULL && end <= mosaic->right && y < mosaic->bottom && !needs_more) {
        const uint8_t *source = tiles[first] + (in_tile + mosaic->left - first * width) * CHANNELS;
        FETCH_AHEAD(source + ahead * CHANNELS, mosaic->width * CHANNELS);
        return source;
    }
    for (Py_ssize_t column = first; column <= last; column++) {
        const Py_ssize_t from = column == first ? mosaic->left : column * width;
        const Py_ssize_t to = column == last ? end : (column + 1) * width;
        uint8_t *target = scratch + (from - mosaic->left) * CHANNELS;
        Py_ssize_t there = y < mosaic->bottom && tiles[column] != NULL ? mosaic->right - from : 0;
        there = there < 0 ? 0 : there > to - from ? to - from : there;
        if (there > 0) {
            const uint8_t *source = tiles[column] + (in_tile + from - column * width) * CHANNELS;
            FETCH_AHEAD(source + ahead * CHANNELS, there * CHANNELS);
            memcpy(target, source, (size_t)(there * CHANNELS));
        }
        memset(target + there * CHANNELS, WHITE, (size_t)((to - from - there) * CHANNELS));
    }
    memcpy(scratch + mosaic->width * CHANNELS, scratch + (mosaic->width - 1) * CHANNELS, CHANNELS);
    return scratch;
}

/* 128 times the samples between those of a row: first + (second - first) * weight, rounded down.
 * `weight` is unsigned in 1/65536; as the multiplication is of signed numbers, negative ones lack a whole step. */
ALSO_WIDE static void along_run(const uint8_t *restrict source, const Run *run, const int16_t *restrict weight,
                                 int16_t *restrict out)
{
    /* Indices as wide as addresses: with narrower ones, which might wrap around, compilers do not vectorize. */
    const Py_ssize_t start = run->start, end = run->end;
    const uint8_t *here = source + run->offset;
    for (Py_ssize_t i = start; i < end; i++) {
        const int16_t first = here[i];
        const int16_t step = (int16_t)((here[i + CHANNELS] - first) * 128);
        const int16_t part = (int16_t)(((int32_t)step * weight[i]) >> 16);
        out[i] = (int16_t)(first * 128 + part + (step & (weight[i] >> 15)));
    }
}

/* The same where bytes can be multiplied in pairs. A weight of n/2048 is split into two pairs of bytes for both pixels:
 * 127 - n / 16 and n / 16, and 16 - n % 16 and n % 16, whose sum of products counts one sixteenth. */
enum { AT_ONCE = 32 }; /* samples */
#if defined(__GNUC__) && defined(__x86_64__)
#define HAS_PAIRS __builtin_cpu_supports("avx2")
#define LOAD(address) _mm256_loadu_si256((const __m256i *)(address))

__attribute__((target("avx2"))) static void along_pairs(const uint8_t *restrict source, const Run *run,
                                                        const int8_t *restrict coarse, const int8_t *restrict fine,
                                                        int16_t *restrict out)
{
    const Py_ssize_t last = run->end - AT_ONCE;
    for (Py_ssize_t next = run->start; next < run->end; next += AT_ONCE) {
        const Py_ssize_t i = next < last ? next : last; /* at the end, some samples are computed again */
        const uint8_t *here = source + run->offset + i;
        /* Unpacking works within halves; with quarters in this order, samples stay in theirs. */
        const __m256i first = _mm256_permute4x64_epi64(LOAD(here), 0xD8);
        const __m256i second = _mm256_permute4x64_epi64(LOAD(here + CHANNELS), 0xD8);
        const __m256i pairs[] = {_mm256_unpacklo_epi8(first, second), _mm256_unpackhi_epi8(first, second)};
        for (int half = 0; half < 2; half++) {
            const Py_ssize_t at = i + half * AT_ONCE / 2;
            const __m256i most = _mm256_maddubs_epi16(pairs[half], LOAD(coarse + 2 * at));
            const __m256i rest = _mm256_maddubs_epi16(pairs[half], LOAD(fine + 2 * at));
            _mm256_storeu_si256((__m256i *)(out + at), _mm256_add_epi16(most, _mm256_srli_epi16(rest, 4)));
        }
    }
}
#else
#define HAS_PAIRS 0
#define along_pairs(source, run, coarse, fine, out) ((void)(coarse), (void)(fine))
#endif

static void along_row(const uint8_t *source, const Run *runs, Py_ssize_t count, const int16_t *weight,
                      const int8_t *pairs, Py_ssize_t samples, int16_t *out)
{
    const int has_pairs = HAS_PAIRS;
    for (Py_ssize_t r = 0; r < count; r++)
        if (has_pairs && runs[r].end - runs[r].start >= AT_ONCE)
            along_pairs(source, &runs[r], pairs, pairs + 2 * samples, out);
        else
            along_run(source, &runs[r], weight, out);
}

ALSO_WIDE static void between_rows(const int16_t *restrict above, const int16_t *restrict below, int16_t weight_above,
                                    int16_t weight_below, Py_ssize_t count, uint8_t *restrict out)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        const int16_t a = (int16_t)(((int32_t)above[i] * weight_above) >> 16);
        const int16_t b = (int16_t)(((int32_t)below[i] * weight_below) >> 16);
        out[i] = (uint8_t)((int16_t)(a + b + 2) >> 2);
    }
}

/* The mean of 2 x 2 pixels of two rows, rounded half up, at every pixel of a row but the last. */
ALSO_WIDE static void mean_of_four(const uint8_t *restrict above, const uint8_t *restrict below, Py_ssize_t count,
                                    uint8_t *restrict out)
{
    for (Py_ssize_t i = 0; i < count; i++)
        out[i] = (uint8_t)((above[i] + above[i + CHANNELS] + below[i] + below[i + CHANNELS] + 2) >> 2);
}

/* Every second pixel of a row. Four bytes at a time, of which the next pixel overwrites the last. */
static void every_second(const uint8_t *restrict row, Py_ssize_t pixels, uint8_t *restrict out)
{
    for (Py_ssize_t i = 0; i < pixels - 1; i++)
        memcpy(out + i * CHANNELS, row + 2 * i * CHANNELS, CHANNELS + 1);
    memcpy(out + (pixels - 1) * CHANNELS, row + 2 * (pixels - 1) * CHANNELS, CHANNELS);
}

/* Both, where bytes can be added in pairs: four pixels of the result at once, each a sum of two pairs. Returns how many:
 * what is stored is two bytes too long, so the last ones are left to the loops above. */
#if defined(__GNUC__) && defined(__x86_64__)
__attribute__((target("avx2"))) static Py_ssize_t halve_pairs(const uint8_t *restrict above,
                                                              const uint8_t *restrict below, Py_ssize_t pixels,
                                                              uint8_t *restrict out)
{
    enum { HALF = 2, NEEDED = 16 }; /* pixels of the result in half a vector, which takes so many bytes to load */
    const __m128i beside = _mm_setr_epi8(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, -1, -1, -1, -1);
    const __m256i order = _mm256_broadcastsi128_si256(beside), ones = _mm256_set1_epi8(1);
    const __m256i rounding = _mm256_set1_epi16(2);
    Py_ssize_t i = 0;
    for (; 2 * CHANNELS * (i + HALF) + NEEDED <= 2 * CHANNELS * pixels && i + 2 * HALF < pixels; i += 2 * HALF) {
        __m256i sum = rounding;
        const uint8_t *rows[] = {above, below};
        for (int which = 0; which < 2; which++) {
            const uint8_t *here = rows[which] + 2 * CHANNELS * i;
            const __m128i left = _mm_loadu_si128((const __m128i *)here);
            const __m128i right = _mm_loadu_si128((const __m128i *)(here + 2 * CHANNELS * HALF));
            const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(left), right, 1);
            sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(_mm256_shuffle_epi8(both, order), ones));
        }
        const __m256i mean = _mm256_srli_epi16(sum, 2);
        const __m256i bytes = _mm256_packus_epi16(mean, mean);
        _mm_storel_epi64((__m128i *)(out + CHANNELS * i), _mm256_castsi256_si128(bytes));
        _mm_storel_epi64((__m128i *)(out + CHANNELS * (i + HALF)), _mm256_extracti128_si256(bytes, 1));
    }
    return i;
}
#else
#define halve_pairs(above, below, pixels, out) 0
#endif

/* Two rows in one of half as many pixels; `fine` holds both and has room for a third. */
static void halve(uint8_t *fine, Py_ssize_t samples, uint8_t *out)
{
    const Py_ssize_t pixels = samples / (2 * CHANNELS);
    const Py_ssize_t done = HAS_PAIRS ? halve_pairs(fine, fine + samples, pixels, out) : 0;
    const uint8_t *rest = fine + 2 * CHANNELS * done;
    uint8_t *means = fine + 2 * samples;
    if (done == pixels)
        return;
    mean_of_four(rest, rest + samples, samples - 2 * CHANNELS * done - CHANNELS, means);
    every_second(means, pixels - done, out + CHANNELS * done);
}

/* What `linear` was given, checked. */
typedef struct {
    Mosaic mosaic;
    Py_buffer runs, weight, pairs, rows, row_weight, out;
    int needs_more; /* the last pixel of a row is asked for its neighbour */
    int halves;     /* the result is the mean of 2 x 2 interpolated pixels */
} Linear;

/* `lines` holds two rows between columns, `fine` three rows of the result before it is halved. */
static void interpolate(const Linear *task, uint8_t *scratch, int16_t *lines, uint8_t *fine, Py_ssize_t samples)
{
    const int32_t *rows = task->rows.buf;
    const int16_t *row_weight = task->row_weight.buf;
    const Py_ssize_t count = task->rows.len / (Py_ssize_t)(2 * sizeof(int32_t));
    const Py_ssize_t runs = task->runs.len / (Py_ssize_t)sizeof(Run);
    const Py_ssize_t half = samples / 2;
    int32_t held[2] = {-1, -1}; /* the window's rows that `lines` hold: those of even and of odd number */

    for (Py_ssize_t i = 0; i < count; i++) {
        int16_t *line[2];
        for (int which = 0; which < 2; which++) {
            const int32_t row = rows[2 * i + which];
            line[which] = lines + (row & 1) * samples;
            if (held[row & 1] != row) {
                const uint8_t *source = source_row(&task->mosaic, row, task->needs_more, scratch);
                along_row(source, task->runs.buf, runs, task->weight.buf, task->pairs.buf, samples, line[which]);
                held[row & 1] = row;
            }
        }
        uint8_t *out = (uint8_t *)task->out.buf + (task->halves ? i / 2 * half : i * samples);
        uint8_t *row = task->halves ? fine + (i & 1) * samples : out;
        between_rows(line[0], line[1], row_weight[2 * i], row_weight[2 * i + 1], samples, row);
        if (task->halves && (i & 1) == 1)
            halve(fine, samples, out);
    }
}

/* True unless the window lies within the tiles. */
static int is_outside(const Mosaic *mosaic, Py_ssize_t tiles)
{
    return mosaic->columns < 1 || mosaic->tile_height < 1 || mosaic->tile_width < 1 || mosaic->left < 0 ||
           mosaic->top < 0 || mosaic->width < 1 || mosaic->height < 1 ||
           mosaic->left + mosaic->width > mosaic->columns * mosaic->tile_width ||
           mosaic->top + mosaic->height > tiles / mosaic->columns * mosaic->tile_height;
}

/* True, with an exception set, unless every index of the task lies in the window. */
static int is_wrong(Linear *task, Py_ssize_t samples, Py_ssize_t tiles)
{
    const Mosaic *mosaic = &task->mosaic;
    const Run *runs = task->runs.buf;
    const int32_t *rows = task->rows.buf;
    const Py_ssize_t count = task->rows.len / (Py_ssize_t)(2 * sizeof(int32_t));
    int32_t expected = 0;
    const Py_ssize_t most = task->halves ? 4 : 1; /* interpolated pixels for one of the result */
    int wrong = is_outside(mosaic, tiles) || samples < 1 || count < 1 || task->out.len * most != count * samples ||
                task->weight.len != samples * (Py_ssize_t)sizeof(int16_t) || task->pairs.len != 4 * samples ||
                (task->halves && (samples % (2 * CHANNELS) != 0 || count % 2 != 0)) ||
                task->row_weight.len != count * (Py_ssize_t)(2 * sizeof(int16_t));

    for (Py_ssize_t r = 0; !wrong && r < task->runs.len / (Py_ssize_t)sizeof(Run); r++) {
        const Py_ssize_t end = runs[r].end + (Py_ssize_t)runs[r].offset; /* of the first of both samples */
        wrong = runs[r].start != expected || runs[r].end <= runs[r].start || runs[r].end > samples ||
                runs[r].start + (Py_ssize_t)runs[r].offset < 0 || end > mosaic->width * CHANNELS;
        expected = runs[r].end;
        task->needs_more |= end > (mosaic->width - 1) * CHANNELS;
    }
    wrong |= expected != samples;
    for (Py_ssize_t i = 0; !wrong && i < count; i++) {
        const int32_t above = rows[2 * i], below = rows[2 * i + 1];
        wrong = above < 0 || below < above || below - above > 1 || below >= mosaic->height;
    }
    if (wrong)
        PyErr_SetString(PyExc_ValueError, "linear: the window, its indices and the result do not fit together");
    return wrong;
}

/* The tiles' buffers; the number of those got, or -1 with an exception set. */
static Py_ssize_t tile_buffers(PyObject *list, Py_ssize_t bytes, Py_buffer *buffers, const uint8_t **pointers)
{
    Py_ssize_t got = 0;
    for (Py_ssize_t i = 0; i < PyList_Size(list); i++) {
        PyObject *tile = PyList_GetItem(list, i);
        pointers[i] = NULL;
        if (tile == Py_None)
            continue;
        if (PyObject_GetBuffer(tile, &buffers[got], PyBUF_SIMPLE) == 0) {
            pointers[i] = buffers[got].buf;
            if (buffers[got++].len == bytes)
                continue;
            PyErr_SetString(PyExc_ValueError, "a tile has another size than its grid says");
        }
        while (got > 0)
            PyBuffer_Release(&buffers[--got]);
        return -1;
    }
    return got;
}

/* What `run` returns for the task, with the tiles' memory in its mosaic. */
static PyObject *with_tiles(PyObject *list, Mosaic *mosaic, PyObject *(*run)(void *, Py_ssize_t), void *task)
{
    PyObject *result = NULL;
    const Py_ssize_t count = PyList_Size(list);
    Py_buffer *buffers = PyMem_Malloc((size_t)(count + 1) * sizeof(Py_buffer));
    mosaic->tiles = PyMem_Malloc((size_t)(count + 1) * sizeof(uint8_t *));
    if (buffers == NULL || mosaic->tiles == NULL) {
        PyErr_NoMemory();
    } else {
        const Py_ssize_t bytes = mosaic->tile_height * mosaic->tile_width * CHANNELS;
        Py_ssize_t got = tile_buffers(list, bytes, buffers, mosaic->tiles);
        if (got >= 0)
            result = run(task, count);
        while (got > 0)
            PyBuffer_Release(&buffers[--got]);
    }
    PyMem_Free(buffers);
    PyMem_Free(mosaic->tiles);
    return result;
}

/* A task of `linear`, and what was taken for it. */
typedef struct {
    Linear task;
    Py_buffer *tiles;
    Py_ssize_t got; /* buffers of tiles */
    Py_ssize_t samples;
} Work;

static void give_back(Work *work)
{
    Linear *task = &work->task;
    Py_buffer *taken[] = {&task->runs, &task->weight, &task->pairs, &task->rows, &task->row_weight, &task->out};
    while (work->got > 0)
        PyBuffer_Release(&work->tiles[--work->got]);
    PyMem_Free(work->tiles);
    PyMem_Free(task->mosaic.tiles);
    for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
        PyBuffer_Release(taken[i]);
}

/* False, with an exception set and nothing taken, unless the arguments are a task. */
static int take(PyObject *arguments, Work *work)
{
    Linear *task = &work->task;
    Mosaic *mosaic = &task->mosaic;
    PyObject *list;
    if (!PyTuple_Check(arguments)) {
        PyErr_SetString(PyExc_TypeError, "linear: a task is a tuple");
        return 0;
    }
    if (!PyArg_ParseTuple(arguments, "O!(nnn)(nnnn)(nn)(y*y*y*)(y*y*)w*p", &PyList_Type, &list, &mosaic->columns,
                          &mosaic->tile_height, &mosaic->tile_width, &mosaic->left, &mosaic->top, &mosaic->width,
                          &mosaic->height, &mosaic->right, &mosaic->bottom, &task->runs, &task->weight, &task->pairs,
                          &task->rows, &task->row_weight, &task->out, &task->halves))
        return 0;
    const Py_ssize_t count = PyList_Size(list);
    work->samples = task->weight.len / (Py_ssize_t)sizeof(int16_t);
    work->tiles = PyMem_Malloc((size_t)(count + 1) * sizeof(Py_buffer));
    mosaic->tiles = PyMem_Malloc((size_t)(count + 1) * sizeof(uint8_t *));
    if (work->tiles == NULL || mosaic->tiles == NULL) {
        PyErr_NoMemory();
    } else {
        const Py_ssize_t bytes = mosaic->tile_height * mosaic->tile_width * CHANNELS;
        const Py_ssize_t got = tile_buffers(list, bytes, work->tiles, mosaic->tiles);
        work->got = got > 0 ? got : 0;
        if (got >= 0 && !is_wrong(task, work->samples, count))
            return 1;
    }
    give_back(work);
    return 0;
}

/* Does all tasks; false, with an exception set, if there is no memory for them. */
static int interpolate_each(const Work *works, Py_ssize_t count)
{
    Py_ssize_t samples = 1, width = 1;
    for (Py_ssize_t i = 0; i < count; i++) {
        samples = works[i].samples > samples ? works[i].samples : samples;
        width = works[i].task.mosaic.width > width ? works[i].task.mosaic.width : width;
    }
    int16_t *lines = PyMem_Malloc((size_t)(2 * samples) * sizeof(int16_t));
    uint8_t *scratch = PyMem_Malloc((size_t)(width + 1) * CHANNELS);
    uint8_t *fine = PyMem_Malloc((size_t)(3 * samples));
    const int done = lines != NULL && scratch != NULL && fine != NULL;
    if (done) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++)
            interpolate(&works[i].task, scratch, lines, fine, works[i].samples);
        Py_END_ALLOW_THREADS
    } else {
        PyErr_NoMemory();
    }
    PyMem_Free(lines);
    PyMem_Free(scratch);
    PyMem_Free(fine);
    return done;
}

/* The interpreter is let go once for all tasks: handing it over costs threads more than the arguments do. */
static PyObject *linear(PyObject *module, PyObject *tasks)
{
    (void)module;
    if (!PyList_Check(tasks)) {
        PyErr_SetString(PyExc_TypeError, "linear: tasks are a list");
        return NULL;
    }
    const Py_ssize_t count = PyList_Size(tasks);
    Py_ssize_t taken = 0;
    Work *works = PyMem_Calloc((size_t)(count + 1), sizeof(Work));
    if (works == NULL)
        return PyErr_NoMemory();
    while (taken < count && take(PyList_GetItem(tasks, taken), &works[taken]))
        taken++;
    const int done = taken == count && interpolate_each(works, count);
    while (taken > 0)
        give_back(&works[--taken]);
    PyMem_Free(works);
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

/* The source pixels of every output pixel along an axis, side by side, and their weights. */
typedef struct {
    Py_buffer index, weight;
    Py_ssize_t taps, count;
} Footprints;

/* What `area` was given, checked. */
typedef struct {
    Mosaic mosaic;
    Footprints columns, rows;
    Py_buffer out;
} Area;

ALSO_WIDE static void add_row(const uint8_t *restrict source, Py_ssize_t count, float weight, int is_first,
                               float *restrict sums)
{
    if (is_first)
        for (Py_ssize_t i = 0; i < count; i++)
            sums[i] = (float)source[i] * weight;
    else
        for (Py_ssize_t i = 0; i < count; i++)
            sums[i] += (float)source[i] * weight;
}

/* Weighted sums of pixels of a row, rounded half up. Four values are added for three channels, as processors like it;
 * the row has one value more than its pixels. */
static void add_columns(const float *restrict row, const int32_t *restrict index, const float *restrict weight,
                        Py_ssize_t taps, Py_ssize_t count, uint8_t *restrict out)
{
    enum { LANES = 4 };
    for (Py_ssize_t i = 0; i < count; i++) {
        float total[LANES] = {0.0f};
        for (Py_ssize_t tap = 0; tap < taps; tap++) {
            const float *pixel = row + CHANNELS * (Py_ssize_t)*index++;
            const float part = *weight++;
            for (int k = 0; k < LANES; k++)
                total[k] += pixel[k] * part;
        }
        for (int k = 0; k < CHANNELS; k++) {
            const float value = total[k] + 0.5f;
            *out++ = (uint8_t)(int)(value < 255.0f ? value : 255.0f);
        }
    }
}

static void average(const Area *task, uint8_t *scratch, float *sums)
{
    const int32_t *index = task->rows.index.buf;
    const float *weight = task->rows.weight.buf;
    const Py_ssize_t taps = task->rows.taps, samples = task->mosaic.width * CHANNELS;

    sums[samples] = 0.0f;
    for (Py_ssize_t i = 0; i < task->rows.count; i++) {
        int is_first = 1;
        for (Py_ssize_t tap = i * taps; tap < (i + 1) * taps; tap++) {
            if (weight[tap] == 0.0f && !(is_first && tap + 1 == (i + 1) * taps))
                continue;
            add_row(source_row(&task->mosaic, index[tap], 0, scratch), samples, weight[tap], is_first, sums);
            is_first = 0;
        }
        add_columns(sums, task->columns.index.buf, task->columns.weight.buf, task->columns.taps, task->columns.count,
                    (uint8_t *)task->out.buf + i * task->columns.count * CHANNELS);
    }
}

/* True unless there is a weight for every index, and every index is below `limit`; also counts output pixels. */
static int do_not_fit(Footprints *axis, Py_ssize_t limit)
{
    const Py_ssize_t indices = axis->index.len / (Py_ssize_t)sizeof(int32_t);
    int wrong = axis->taps < 1 || indices < 1 || indices % axis->taps != 0 ||
                axis->weight.len != indices * (Py_ssize_t)sizeof(float);
    const int32_t *index = axis->index.buf;
    const float *weight = axis->weight.buf;
    for (Py_ssize_t i = 0; !wrong && i < indices; i++)
        wrong = index[i] < 0 || index[i] >= limit || !(weight[i] >= 0.0f && weight[i] <= 1.001f);
    axis->count = wrong ? 0 : indices / axis->taps;
    return wrong;
}

static PyObject *run_area(void *given, Py_ssize_t tiles)
{
    Area *task = given;
    const Mosaic *mosaic = &task->mosaic;
    if (is_outside(mosaic, tiles) || do_not_fit(&task->columns, mosaic->width) ||
        do_not_fit(&task->rows, mosaic->height) || task->out.len != task->columns.count * task->rows.count * CHANNELS) {
        PyErr_SetString(PyExc_ValueError, "area: the window, its indices and the result do not fit together");
        return NULL;
    }
    float *sums = PyMem_Malloc((size_t)(mosaic->width * CHANNELS + 1) * sizeof(float));
    uint8_t *scratch = PyMem_Malloc((size_t)(mosaic->width + 1) * CHANNELS);
    const int failed = sums == NULL || scratch == NULL;
    if (failed) {
        PyErr_NoMemory();
    } else {
        Py_BEGIN_ALLOW_THREADS
        average(task, scratch, sums);
        Py_END_ALLOW_THREADS
    }
    PyMem_Free(sums);
    PyMem_Free(scratch);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *area(PyObject *module, PyObject *arguments)
{
    Area task = {.columns = {.count = 0}};
    Mosaic *mosaic = &task.mosaic;
    PyObject *list;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O!(nnn)(nnnn)(nn)(y*y*n)(y*y*n)w*", &PyList_Type, &list, &mosaic->columns,
                          &mosaic->tile_height, &mosaic->tile_width, &mosaic->left, &mosaic->top, &mosaic->width,
                          &mosaic->height, &mosaic->right, &mosaic->bottom, &task.columns.index, &task.columns.weight,
                          &task.columns.taps, &task.rows.index, &task.rows.weight, &task.rows.taps, &task.out))
        return NULL;
    PyObject *result = with_tiles(list, mosaic, run_area, &task);
    Py_buffer *taken[] = {&task.columns.index, &task.columns.weight, &task.rows.index, &task.rows.weight, &task.out};
    for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
        PyBuffer_Release(taken[i]);
    return result;
}

/* The highest and lowest channel of `TOGETHER` pixels in a row, in any order, and of one pixel. The bytes of a channel
 * are at different places in three consecutive pieces of so many bytes, so these are masked and laid upon each other,
 * which any processor can do for many bytes at once. Reads the first two bytes of the next pixel, too. */
enum { TOGETHER = 32 };
#define EVERY_THIRD(a, b, c) \
    {a, b, c, a, b, c, a, b, c, a, b, c, a, b, c, a, b, c, a, b, c, a, b, c, a, b, c, a, b, c, a, b}
static const uint8_t FIRST[TOGETHER] = EVERY_THIRD(255, 0, 0), SECOND[TOGETHER] = EVERY_THIRD(0, 255, 0),
                     THIRD[TOGETHER] = EVERY_THIRD(0, 0, 255);
#define LAID_UPON(from) \
    (uint8_t)(((from)[i] & FIRST[i]) | ((from)[i + TOGETHER] & SECOND[i]) | ((from)[i + 2 * TOGETHER] & THIRD[i]))
#define HIGHEST(a, b) ((a) > (b) ? (a) : (b))
#define LOWEST(a, b) ((a) < (b) ? (a) : (b))

/* Pixels whose lowest channel, times 256, plus `bias` is above `factor` / 256 of the highest. */
ALSO_WIDE static int64_t gray_pixels(const uint8_t *restrict rgb, Py_ssize_t count, uint16_t factor, uint16_t bias)
{
    enum { AT_MOST = 8 * TOGETHER };
    uint8_t highest[AT_MOST], lowest[AT_MOST];
    int64_t total = 0;
    while (count > 0) {
        const Py_ssize_t now = count < AT_MOST ? count : AT_MOST;
        Py_ssize_t done = 0;
        for (; done + TOGETHER <= now && done + TOGETHER < count; done += TOGETHER) {
            const uint8_t *restrict here = rgb + CHANNELS * done;
            uint8_t *restrict high = highest + done, *restrict low = lowest + done;
            for (int i = 0; i < TOGETHER; i++) {
                const uint8_t red = LAID_UPON(here), green = LAID_UPON(here + 1), blue = LAID_UPON(here + 2);
                const uint8_t above = HIGHEST(red, green), below = LOWEST(red, green);
                high[i] = HIGHEST(above, blue);
                low[i] = LOWEST(below, blue);
            }
        }
        for (; done < now; done++) {
            const uint8_t *pixel = rgb + CHANNELS * done;
            const uint8_t above = HIGHEST(pixel[0], pixel[1]), below = LOWEST(pixel[0], pixel[1]);
            highest[done] = HIGHEST(above, pixel[2]);
            lowest[done] = LOWEST(below, pixel[2]);
        }
        if (count >= 4 * AT_MOST)
            FETCH_AHEAD(rgb + 2 * CHANNELS * AT_MOST, CHANNELS * AT_MOST);
        uint16_t found = 0; /* as narrow as what is compared */
        for (Py_ssize_t i = 0; i < now; i++) {
            const uint16_t limit = (uint16_t)((uint32_t)(highest[i] << 8) * factor >> 16);
            found = (uint16_t)(found + ((uint16_t)((lowest[i] << 8) + bias) > limit));
        }
        total += found;
        rgb += CHANNELS * now;
        count -= now;
    }
    return total;
}

static PyObject *count_gray(PyObject *module, PyObject *arguments)
{
    Py_buffer rgb, counts;
    unsigned short factor, bias;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*HHw*", &rgb, &factor, &bias, &counts))
        return NULL;
    const Py_ssize_t images = counts.len / (Py_ssize_t)sizeof(int64_t);
    const int wrong = images < 1 || rgb.len % (images * CHANNELS) != 0;
    if (wrong) {
        PyErr_SetString(PyExc_ValueError, "count_gray: wanted images of one size and a count for each");
    } else {
        const Py_ssize_t bytes = rgb.len / images;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < images; i++)
            ((int64_t *)counts.buf)[i] =
                gray_pixels((const uint8_t *)rgb.buf + i * bytes, bytes / CHANNELS, factor, bias);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&rgb);
    PyBuffer_Release(&counts);
    if (wrong)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"linear", linear, METH_O, "linear(tasks): each (tiles, grid, window, end, along, across, out); see slideloom.linear"},
    {"area", area, METH_VARARGS, "area(tiles, grid, window, end, columns, rows, out): see slideloom.area"},
    {"count_gray", count_gray, METH_VARARGS, "count_gray(rgb, factor, bias, counts): see slideloom.gray"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "slideloom.pixels._kernels",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
