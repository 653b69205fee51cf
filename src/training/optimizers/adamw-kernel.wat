;; AdamW and a sum of squares on four floats at a time. Four blocks of 4,096 floats: weight at 0, first moment at 16384, second moment at
;; 32768, gradient at 49152. Counts are rounded up to four; lanes past the end are computed and not looked at. `npm run build:kernel` after
;; a change.
(module
  (memory (export "memory") 1)

  ;; g' = factor g; m += rest1 (g' - m); v += rest2 (g'g' - v); w -= decay w + step m / (scale sqrt v + epsilon)
  (func (export "update") (param $count i32) (param $factor f32) (param $rest1 f32) (param $rest2 f32) (param $decay f32)
    (param $step f32) (param $scale f32) (param $epsilon f32)
    (local $at i32) (local $end i32) (local $g v128) (local $m v128) (local $v v128) (local $w v128)
    (local.set $end (i32.shl (local.get $count) (i32.const 2)))
    (loop $next
      (local.set $g (f32x4.mul (v128.load offset=49152 (local.get $at)) (f32x4.splat (local.get $factor))))
      (local.set $m (v128.load offset=16384 (local.get $at)))
      (local.set $m (f32x4.add
        (local.get $m)
        (f32x4.mul (f32x4.sub (local.get $g) (local.get $m)) (f32x4.splat (local.get $rest1)))))
      (v128.store offset=16384 (local.get $at) (local.get $m))
      (local.set $v (v128.load offset=32768 (local.get $at)))
      (local.set $v (f32x4.add
        (local.get $v)
        (f32x4.mul
          (f32x4.sub (f32x4.mul (local.get $g) (local.get $g)) (local.get $v))
          (f32x4.splat (local.get $rest2)))))
      (v128.store offset=32768 (local.get $at) (local.get $v))
      (local.set $w (v128.load (local.get $at)))
      (v128.store (local.get $at) (f32x4.sub
        (local.get $w)
        (f32x4.add
          (f32x4.mul (local.get $w) (f32x4.splat (local.get $decay)))
          (f32x4.div
            (f32x4.mul (local.get $m) (f32x4.splat (local.get $step)))
            (f32x4.add
              (f32x4.mul (f32x4.sqrt (local.get $v)) (f32x4.splat (local.get $scale)))
              (f32x4.splat (local.get $epsilon)))))))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end)))))

  ;; The squares of the first block, summed in double precision.
  (func (export "squares") (param $count i32) (result f64)
    (local $at i32) (local $end i32) (local $x v128) (local $y v128) (local $low v128) (local $high v128)
    (local.set $end (i32.shl (local.get $count) (i32.const 2)))
    (loop $next
      (local.set $x (f64x2.promote_low_f32x4 (v128.load64_zero (local.get $at))))
      (local.set $y (f64x2.promote_low_f32x4 (v128.load64_zero offset=8 (local.get $at))))
      (local.set $low (f64x2.add (local.get $low) (f64x2.mul (local.get $x) (local.get $x))))
      (local.set $high (f64x2.add (local.get $high) (f64x2.mul (local.get $y) (local.get $y))))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end))))
    (local.set $low (f64x2.add (local.get $low) (local.get $high)))
    (f64.add (f64x2.extract_lane 0 (local.get $low)) (f64x2.extract_lane 1 (local.get $low)))))
