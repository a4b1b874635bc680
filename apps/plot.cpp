// Draws into an RGB image with filled rectangles alone; letters are those of stb_easy_font.
#include "plot.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <stdexcept>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb/stb_easy_font.h>
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace {

constexpr int panel_width = 640, panel_height = 480, heading_height = 40;
constexpr int left = 90, right = 24, top = 40, bottom = 70;  // margins of a panel
constexpr int text_scale = 2, text_height = 7 * text_scale;

struct Color {
  uint8_t r, g, b;
};
constexpr Color black = {30, 30, 30}, grey = {222, 222, 222}, blue = {31, 95, 180};

class Image {
 public:
  Image(int width, int height) : width_(width), height_(height), bytes_(size_t(width) * height * 3, 255) {}

  void fill(int x, int y, int width, int height, Color color) {
    for (int row = std::max(y, 0); row < std::min(y + height, height_); ++row)
      for (int column = std::max(x, 0); column < std::min(x + width, width_); ++column) {
        const size_t at = (size_t(row) * width_ + column) * 3;
        bytes_[at] = color.r, bytes_[at + 1] = color.g, bytes_[at + 2] = color.b;
      }
  }

  void line(double x0, double y0, double x1, double y1, Color color) {
    const int steps = std::max(1, int(std::max(std::abs(x1 - x0), std::abs(y1 - y0))));
    for (int i = 0; i <= steps; ++i)
      fill(int(x0 + (x1 - x0) * i / steps) - 1, int(y0 + (y1 - y0) * i / steps) - 1, 2, 2, color);
  }

  // align: 0 begins at x, 1 is centred there, 2 ends there.
  void text(int x, int y, std::string words, int align, Color color) {
    std::erase_if(words, [](char c) { return c < 32 || c > 126; });
    if (words.empty()) return;
    x -= stb_easy_font_width(words.data()) * text_scale * align / 2;
    struct Vertex {
      float x, y, z;
      uint8_t color[4];
    };
    std::vector<Vertex> corners(words.size() * 100);
    const int quads = stb_easy_font_print(0, 0, words.data(), nullptr, corners.data(), int(corners.size() * sizeof(Vertex)));
    for (int i = 0; i < quads; ++i) {
      const Vertex &a = corners[size_t(i) * 4], &b = corners[size_t(i) * 4 + 2];  // opposite ones
      fill(x + int(a.x * text_scale), y + int(a.y * text_scale), int((b.x - a.x) * text_scale),
           int((b.y - a.y) * text_scale), color);
    }
  }

  std::string png() const {
    std::string file;
    const auto append = [](void* to, void* data, int size) { static_cast<std::string*>(to)->append(static_cast<char*>(data), size_t(size)); };
    if (!stbi_write_png_to_func(append, &file, width_, height_, 3, bytes_.data(), width_ * 3))
      throw std::runtime_error("the plot cannot be made into a PNG");
    return file;
  }

 private:
  int width_, height_;
  std::vector<uint8_t> bytes_;
};

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

// 1, 2 or 5 times a power of ten, so that at most `most` of them reach `end`.
double tick_step(double end, int most) {
  double step = std::pow(10, std::floor(std::log10(std::max(end, 1e-12) / most)));
  for (double factor : {1.0, 2.0, 5.0, 10.0})
    if (end / (step * factor) <= most) return step * factor;
  return step * 10;
}

void draw(Image& image, const Panel& panel, int origin) {
  const int x0 = origin + left, y0 = heading_height + panel_height - bottom;
  const int width = panel_width - left - right, height = panel_height - top - bottom;
  double x_end = 1, y_end = 0;
  for (const auto& [x, y] : panel.points) x_end = std::max(x_end, x), y_end = std::max(y_end, y);
  if (panel.log_x) x_end = std::max(x_end, 2.0);
  const double step = tick_step(y_end, 6);
  y_end = std::max(std::ceil(y_end / step), 1.0) * step;
  const auto to_x = [&](double x) { return x0 + width * (panel.log_x ? std::log2(x) / std::log2(x_end) : x / x_end); };
  const auto to_y = [&](double y) { return y0 - height * y / y_end; };

  for (double y = 0; y < y_end + step / 2; y += step) {
    image.fill(x0, int(to_y(y)), width, 1, grey);
    image.text(x0 - 8, int(to_y(y)) - text_height / 2, short_number(y), 2, black);
  }
  const double x_step = panel.log_x ? 2 : tick_step(x_end, 8);
  for (double x = panel.log_x ? 1 : 0; x <= x_end; x = panel.log_x ? x * x_step : x + x_step) {
    image.fill(int(to_x(x)), y0, 1, 6, black);
    image.text(int(to_x(x)), y0 + 12, short_number(x), 1, black);
  }
  image.fill(x0, y0, width, 2, black);
  image.fill(x0, y0 - height, 2, height, black);
  image.text(origin + panel_width / 2, heading_height + 10, panel.title, 1, black);
  image.text(x0 + width / 2, y0 + 38, panel.x_label, 1, black);
  for (size_t i = 0; i < panel.points.size(); ++i) {
    const auto& [x, y] = panel.points[i];
    if (i > 0) image.line(to_x(panel.points[i - 1].first), to_y(panel.points[i - 1].second), to_x(x), to_y(y), blue);
    image.fill(int(to_x(x)) - 3, int(to_y(y)) - 3, 6, 6, blue);
  }
}

}  // namespace

std::string plot_png(const std::string& heading, const std::vector<Panel>& panels) {
  Image image(panel_width * int(panels.size()), heading_height + panel_height);
  image.text(left, 14, heading, 0, black);
  for (size_t i = 0; i < panels.size(); ++i) draw(image, panels[i], panel_width * int(i));
  return image.png();
}
